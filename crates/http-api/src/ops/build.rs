//! `POST /build` and `POST /build/prune`.

use crate::stream::Upload;
use crate::{registry_auth, request::Call, respond, stream, version::ApiVersion, wire::Body};
use gantry_api_types::{Ulimit, go_json};
use gantry_engine::{BuildContext, BuildPrune, ImageBuild};
use gantry_model::{Error, Result};
use http::{Response, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

pub(crate) async fn post(mut call: Call) -> Result<Response<Body>> {
    match call.query.str("version") {
        "" | "1" => {}
        "2" => {
            return Err(Error::invalid(
                "this engine has no BuildKit: build without version=2 (the docker command: DOCKER_BUILDKIT=0)",
            ));
        }
        other => return Err(Error::invalid(format!("invalid version \"{other}\""))),
    }
    let request = request(&call)?;
    let context = match call.query.non_empty("remote") {
        Some(remote) if remote == "client-session" => {
            return Err(Error::invalid("this engine has no sessions: the context is the request's body"));
        }
        Some(remote) => call.engine.build_context_from(&remote, request.keeps_git_dir()).await?,
        None => upload(&mut call).await?,
    };
    stream::reported(call.engine.image_build(context, request)?, call.stopped()).await
}

/// Receives the context. A client that goes away drops this, the feeder with it, and so fails the reader.
async fn upload(call: &mut Call) -> Result<BuildContext> {
    let engine = Arc::clone(&call.engine);
    let (mut upload, feeding) = Upload::new(call.take_body());
    let received = tokio::task::spawn_blocking(move || engine.build_context(&mut upload)).await;
    drop(feeding);
    received.map_err(|e| Error::internal(format!("the operation broke off: {e}")))?
}

fn request(call: &Call) -> Result<ImageBuild> {
    let query = &call.query;
    let since = |minor| call.version >= ApiVersion::v1(minor);
    let int = |key: &str| Ok::<_, Error>(query.int(key)?.unwrap_or(0));
    let remove = query.bool_or("rm", true);
    let shm_size = int("shmsize")?;
    if shm_size < 0 {
        return Err(Error::invalid(format!("SHM size can not be less than 0: {shm_size}")));
    }
    Ok(ImageBuild {
        dockerfile: query.str("dockerfile").to_owned(),
        tags: query.all("t"),
        quiet: query.bool("q"),
        tell_id: since(30),
        no_cache: query.bool("nocache"),
        cache_from: json(query.str("cachefrom"), "cachefrom")?,
        pull: query.bool("pull"),
        // Removing them whatever happens includes removing them when all is well.
        remove: remove || query.bool("forcerm"),
        target: query.str("target").to_owned(),
        platform: query.non_empty("platform").filter(|_| since(32)),
        arguments: json(query.str("buildargs"), "buildargs")?,
        labels: json(query.str("labels"), "labels")?,
        squash: query.bool("squash") && since(25),
        outputs: if since(40) { outputs(query.str("outputs"))? } else { Vec::new() },
        network_mode: query.str("networkmode").to_owned(),
        extra_hosts: extra_hosts(query.all("extrahosts"))?,
        memory: int("memory")?,
        memory_swap: int("memswap")?,
        cpu_shares: int("cpushares")?,
        cpu_period: int("cpuperiod")?,
        cpu_quota: int("cpuquota")?,
        cpuset_cpus: query.str("cpusetcpus").to_owned(),
        cpuset_mems: query.str("cpusetmems").to_owned(),
        cgroup_parent: query.str("cgroupparent").to_owned(),
        shm_size,
        ulimits: json::<Vec<Ulimit>>(query.str("ulimits"), "ulimits")?,
        security_opt: repeated(query.all("securityopt"), "securityopt")?,
        auths: registry_auth::registries(call),
    })
}

/// A parameter that is JSON; absent, empty and `null` are nothing.
fn json<T: DeserializeOwned + Default>(text: &str, name: &str) -> Result<T> {
    if text.is_empty() {
        return Ok(T::default());
    }
    let read: Option<T> =
        go_json::from_slice(text.as_bytes()).map_err(|e| Error::invalid(format!("error reading {name}: {e}")))?;
    Ok(read.unwrap_or_default())
}

/// Where BuildKit would put the result.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Output {
    r#type: String,
    /// Only looked at for its form.
    #[serde(rename = "Attrs")]
    _attrs: Option<BTreeMap<String, Option<String>>>,
}

/// The types of the outputs that a client wants.
fn outputs(text: &str) -> Result<Vec<String>> {
    let given = json::<Vec<Option<Output>>>(text, "outputs")?;
    Ok(given.into_iter().map(|output| output.unwrap_or_default().r#type).collect())
}

/// Given several times, or as a list in JSON.
fn repeated(given: Vec<String>, name: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for text in given.into_iter().filter(|text| !text.is_empty()) {
        if text.starts_with('[') {
            all.extend(json::<Vec<String>>(&text, name)?);
        } else {
            all.push(text);
        }
    }
    Ok(all)
}

/// Given several times, as a list in JSON, or between commas.
fn extra_hosts(given: Vec<String>) -> Result<Vec<String>> {
    let given = repeated(given, "extrahosts")?;
    Ok(given.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect())
}

pub(crate) async fn prune(call: Call) -> Result<Response<Body>> {
    let query = &call.query;
    let since = |minor| call.version >= ApiVersion::v1(minor);
    let mut prune = BuildPrune { all: true, ..BuildPrune::default() };
    if since(39) {
        let bytes = |key: &str| Ok::<_, Error>(u64::try_from(query.int(key)?.unwrap_or(0)).unwrap_or(0));
        prune.all = query.bool("all");
        prune.reserved = bytes("keep-storage")?;
        prune.filters = query.filters()?;
        if since(48) {
            prune.reserved = prune.reserved.max(bytes("reserved-space")?);
            prune.max_used = bytes("max-used-space")?;
            prune.min_free = bytes("min-free-space")?;
        }
    }
    let pruned = call.engine.build_prune(prune).await?;
    let mut answer = serde_json::to_value(&pruned).unwrap_or_default();
    if !since(39)
        && let Value::Object(members) = &mut answer
    {
        members.remove("CachesDeleted");
    }
    Ok(respond::json(StatusCode::OK, &answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_in_json() {
        let arguments: BTreeMap<String, Option<String>> = json(r#"{"a":"b","c":null}"#, "buildargs").unwrap();
        assert_eq!(arguments["a"].as_deref(), Some("b"));
        assert_eq!(arguments["c"], None);
        assert!(json::<Vec<String>>("null", "cachefrom").unwrap().is_empty());
        assert!(json::<Vec<String>>("{", "cachefrom").unwrap_err().message().starts_with("error reading cachefrom"));
        assert_eq!(outputs(r#"[{"Type":"local","Attrs":{"dest":"/x"}},{},null]"#).unwrap(), ["local", "", ""]);
        for wrong in ["{}", "[1]", r#"[{"Type":1}]"#, r#"[{"Attrs":{"dest":1}}]"#] {
            assert!(outputs(wrong).unwrap_err().message().starts_with("error reading outputs"), "{wrong}");
        }
        let options = repeated(vec!["seccomp=unconfined".into(), r#"["a=b,c"]"#.into()], "securityopt").unwrap();
        assert_eq!(options, ["seccomp=unconfined", "a=b,c"]);
        let hosts = extra_hosts(vec!["a:1,b:2".into(), String::new(), r#"["c:3"]"#.into()]).unwrap();
        assert_eq!(hosts, ["a:1", "b:2", "c:3"]);
    }
}
