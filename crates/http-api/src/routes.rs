//! Every operation that is served.

use crate::{
    ops::{build, commit, container, distribution, exec, image, network, swarm, system, volume},
    router::Route,
    version::ApiVersion,
};
use http::Method;

/// `METHOD since pattern => handler`.
macro_rules! routes {
    ($($method:ident $since:literal $pattern:literal => $handler:path),* $(,)?) => {
        &[$(Route {
            method: Method::$method,
            since: ApiVersion::v1($since),
            pattern: $pattern,
            handler: |call| Box::pin($handler(call)),
        }),*]
    };
}

/// Searched in order. Attach and exec start are in [`crate::ops::TAKEOVERS`].
pub(crate) static ROUTES: &[Route] = routes![
    GET 24 "/_ping" => system::ping::get,
    HEAD 24 "/_ping" => system::ping::head,
    OPTIONS 24 "/{*}" => system::ping::options,
    GET 24 "/version" => system::version::get,
    GET 24 "/info" => system::info::get,
    GET 24 "/events" => system::events::get,
    GET 25 "/system/df" => system::df::get,
    POST 24 "/auth" => system::auth::post,

    GET 24 "/containers/json" => container::list::get,
    POST 24 "/containers/create" => container::create::post,
    POST 25 "/containers/prune" => container::prune::post,
    GET 24 "/containers/{*}/json" => container::inspect::get,
    GET 24 "/containers/{*}/top" => container::top::get,
    GET 24 "/containers/{*}/changes" => container::changes::get,
    GET 24 "/containers/{*}/export" => container::export::get,
    HEAD 24 "/containers/{*}/archive" => container::archive::head,
    GET 24 "/containers/{*}/archive" => container::archive::get,
    PUT 24 "/containers/{*}/archive" => container::archive::put,
    GET 24 "/containers/{*}/logs" => container::logs::get,
    GET 24 "/containers/{*}/stats" => container::stats::get,
    POST 24 "/containers/{*}/start" => container::start::post,
    POST 24 "/containers/{*}/stop" => container::stop::post,
    POST 24 "/containers/{*}/restart" => container::stop::restart,
    POST 24 "/containers/{*}/kill" => container::kill::post,
    POST 24 "/containers/{*}/pause" => container::pause::pause,
    POST 24 "/containers/{*}/unpause" => container::pause::unpause,
    POST 24 "/containers/{*}/update" => container::update::post,
    POST 24 "/containers/{*}/wait" => container::wait::post,
    POST 24 "/containers/{*}/resize" => container::resize::post,
    POST 24 "/containers/{*}/rename" => container::rename::post,
    DELETE 24 "/containers/{*}" => container::remove::delete,

    POST 24 "/containers/{*}/exec" => exec::create::post,
    POST 24 "/exec/{}/resize" => exec::resize::post,
    GET 24 "/exec/{}/json" => exec::inspect::get,

    POST 24 "/build" => build::post,
    POST 31 "/build/prune" => build::prune,
    POST 24 "/commit" => commit::post,

    GET 24 "/images/json" => image::list::get,
    POST 24 "/images/create" => image::create::post,
    POST 24 "/images/load" => image::load::post,
    POST 25 "/images/prune" => image::prune::post,
    GET 24 "/images/search" => image::search::get,
    GET 24 "/images/get" => image::save::many,
    GET 24 "/images/{*}/get" => image::save::one,
    GET 24 "/images/{*}/json" => image::inspect::get,
    GET 24 "/images/{*}/history" => image::history::get,
    POST 24 "/images/{*}/push" => image::push::post,
    POST 24 "/images/{*}/tag" => image::tag::post,
    DELETE 24 "/images/{*}" => image::remove::delete,

    GET 30 "/distribution/{*}/json" => distribution::get,

    GET 24 "/volumes" => volume::list,
    POST 24 "/volumes/create" => volume::create,
    POST 25 "/volumes/prune" => volume::prune,
    GET 24 "/volumes/{}" => volume::inspect,
    PUT 42 "/volumes/{}" => volume::update,
    DELETE 24 "/volumes/{}" => volume::remove,

    GET 24 "/networks" => network::list,
    POST 24 "/networks/create" => network::create,
    POST 25 "/networks/prune" => network::prune,
    GET 24 "/networks/{}" => network::inspect,
    DELETE 24 "/networks/{}" => network::remove,
    POST 24 "/networks/{}/connect" => network::connect,
    POST 24 "/networks/{}/disconnect" => network::disconnect,

    GET 24 "/swarm" => swarm::refuse,
    POST 24 "/swarm/init" => swarm::enter,
    POST 24 "/swarm/join" => swarm::enter,
    POST 24 "/swarm/leave" => swarm::leave,
    POST 24 "/swarm/update" => swarm::update,
    GET 24 "/swarm/unlockkey" => swarm::refuse,
    POST 24 "/swarm/unlock" => swarm::create,
    GET 24 "/nodes" => swarm::list,
    GET 24 "/nodes/{}" => swarm::refuse,
    DELETE 24 "/nodes/{}" => swarm::refuse,
    POST 24 "/nodes/{}/update" => swarm::update,
    GET 24 "/services" => swarm::list,
    POST 24 "/services/create" => swarm::create,
    GET 24 "/services/{}" => swarm::refuse,
    DELETE 24 "/services/{}" => swarm::refuse,
    POST 24 "/services/{}/update" => swarm::update,
    GET 24 "/services/{}/logs" => swarm::logs,
    GET 24 "/tasks" => swarm::list,
    GET 24 "/tasks/{}" => swarm::refuse,
    GET 24 "/tasks/{}/logs" => swarm::logs,
    GET 24 "/secrets" => swarm::list,
    POST 24 "/secrets/create" => swarm::create,
    GET 24 "/secrets/{}" => swarm::refuse,
    DELETE 24 "/secrets/{}" => swarm::refuse,
    POST 24 "/secrets/{}/update" => swarm::update,
    GET 24 "/configs" => swarm::list,
    POST 24 "/configs/create" => swarm::create,
    GET 24 "/configs/{}" => swarm::refuse,
    DELETE 24 "/configs/{}" => swarm::refuse,
    POST 24 "/configs/{}/update" => swarm::update,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::find;

    fn pattern(method: &Method, version: u32, path: &str) -> Option<(&'static str, Vec<String>)> {
        find(ROUTES, ApiVersion::v1(version), method, path).map(|(route, captures)| (route.pattern, captures))
    }

    #[test]
    fn literal_names_win_over_captures() {
        assert_eq!(pattern(&Method::GET, 51, "/containers/json").unwrap().0, "/containers/json");
        assert_eq!(pattern(&Method::GET, 51, "/images/get").unwrap().0, "/images/get");
        assert_eq!(pattern(&Method::POST, 51, "/volumes/create").unwrap().0, "/volumes/create");
        let (found, names) = pattern(&Method::GET, 51, "/images/a/b:c/get").unwrap();
        assert_eq!((found, names), ("/images/{*}/get", vec!["a/b:c".to_owned()]));
        assert_eq!(pattern(&Method::DELETE, 51, "/containers/json").unwrap().1, ["json"]);
    }

    #[test]
    fn gates_and_methods() {
        assert!(pattern(&Method::POST, 24, "/containers/prune").is_none());
        assert!(pattern(&Method::POST, 25, "/containers/prune").is_some());
        assert!(pattern(&Method::PUT, 51, "/version").is_none());
        assert!(pattern(&Method::GET, 51, "/nope").is_none());
    }
}
