//! `GET /images/{name}/json`.

use crate::{request::Call, respond, wire::Body};
use gantry_model::Result;
use http::{HeaderMap, Response, StatusCode, header};

use super::{blocking, platform};
use crate::{shape, version::ApiVersion};
use gantry_engine::ImageInspectOptions;

pub(crate) async fn get(call: Call) -> Result<Response<Body>> {
    let name = call.name().to_owned();
    let options = ImageInspectOptions {
        platform: platform::one(&call, ApiVersion::v1(49))?,
        manifests: call.version >= ApiVersion::v1(48) && call.query.bool("manifests"),
    };
    let inspect = blocking(&call.engine, move |engine| engine.images().inspect(&name, &options)).await?;
    let shown = shape::image::inspect(call.version, &inspect, needs_container_config(&call.headers));
    Ok(respond::json(StatusCode::OK, &shown))
}

/// docker-compose 1 asks in the newest version that there is, and then ends with an exception because the answer lacks
/// a field that went with 1.45.
fn needs_container_config(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).map(|agent| String::from_utf8_lossy(agent.as_bytes()));
    agent.is_some_and(|agent| agent.starts_with("docker-compose/1."))
}

#[cfg(test)]
mod tests {
    use super::needs_container_config;
    use http::{HeaderMap, HeaderValue, header};

    #[test]
    fn by_the_name_of_the_client() {
        let needs = |agent: &'static str| {
            needs_container_config(&HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))]))
        };
        assert!(needs("docker-compose/1.29.2 docker-py/5.0.3 Linux/6.1"));
        assert!(!needs("compose/v2.24.0") && !needs("docker-sdk-python/7.1.0"));
        assert!(!needs_container_config(&HeaderMap::new()));
    }
}
