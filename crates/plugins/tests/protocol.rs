//! The protocol against small plugins on sockets, well-behaved and hostile.

use bytes::Bytes;
use gantry_plugins::network::{EndpointId, Interface, NetworkDriver};
use gantry_plugins::{Directories, Kind, Patience, PluginError, Plugins, VolumeDriver};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::net::UnixListener;

type Calls = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

/// A plugin that answers each method by (status, text).
fn plugin(socket: &Path, answers: &[(&str, u16, String)]) -> Calls {
    let listener = UnixListener::bind(socket).unwrap();
    let answers: BTreeMap<String, (u16, String)> =
        answers.iter().map(|(method, status, text)| (format!("/{method}"), (*status, text.clone()))).collect();
    let calls = Calls::default();
    let seen = calls.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (answers, seen) = (answers.clone(), seen.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (answers, seen) = (answers.clone(), seen.clone());
                async move {
                    let method = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    seen.lock().unwrap().push((method.clone(), serde_json::from_slice(&body).unwrap_or_default()));
                    let (status, text) = answers.get(&method).cloned().unwrap_or((404, "404 page not found\n".into()));
                    Ok::<_, Infallible>(Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap())
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    calls
}

fn place() -> (TempDir, Plugins) {
    let dir = tempfile::tempdir().unwrap();
    let directories = Directories { sockets: dir.path().to_owned(), specs: Vec::new() };
    (dir, Plugins::new(directories))
}

fn volume_manifest() -> (&'static str, u16, String) {
    ("Plugin.Activate", 200, r#"{"Implements":["VolumeDriver"]}"#.into())
}

#[tokio::test]
async fn volumes_are_made_and_mounted() {
    let (dir, plugins) = place();
    let calls = plugin(
        &dir.path().join("vol.sock"),
        &[
            volume_manifest(),
            ("VolumeDriver.Create", 200, "{}".into()),
            ("VolumeDriver.Mount", 200, r#"{"Mountpoint":"/mnt/x","Err":""}"#.into()),
            ("VolumeDriver.Unmount", 200, String::new()),
            ("VolumeDriver.Get", 500, r#"{"Err":"no such volume"}"#.into()),
            ("VolumeDriver.List", 200, r#"{"Volumes":[{"Name":"x","Mountpoint":null},{"Name":""}]}"#.into()),
            ("VolumeDriver.Capabilities", 200, r#"{"Capabilities":{"Scope":"Global"}}"#.into()),
            ("VolumeDriver.Remove", 500, r#"{"Err":"busy"}"#.into()),
        ],
    );
    let driver = VolumeDriver(plugins.get("vol", Kind::Volume, Patience::Long).await.unwrap());
    driver.create("x", Some(&BTreeMap::from([("k".to_owned(), "v".to_owned())]))).await.unwrap();
    assert_eq!(driver.mount("x", "id").await.unwrap(), "/mnt/x");
    driver.unmount("x", "id").await.unwrap();
    assert_eq!(driver.get("x", Patience::Long).await.unwrap(), None);
    assert_eq!(driver.list(Patience::Brief).await.unwrap().len(), 1);
    assert_eq!(driver.scope(Patience::Brief).await, "global");
    assert_eq!(driver.remove("x").await.unwrap_err().to_string(), "VolumeDriver.Remove: busy");
    let calls = calls.lock().unwrap();
    assert_eq!(calls[1].1, serde_json::json!({"Name": "x", "Opts": {"k": "v"}}));
    assert_eq!(calls[2].1, serde_json::json!({"Name": "x", "ID": "id"}));
    // Activated once.
    assert_eq!(calls.iter().filter(|(method, _)| method == "/Plugin.Activate").count(), 1);
    assert_eq!(plugins.known(Kind::Volume), ["vol"]);
}

#[tokio::test]
async fn what_is_not_there_or_no_driver() {
    let (dir, plugins) = place();
    plugin(&dir.path().join("net.sock"), &[("Plugin.Activate", 200, r#"{"Implements":["NetworkDriver"]}"#.into())]);
    let error = plugins.get("nope", Kind::Volume, Patience::Long).await.unwrap_err();
    assert_eq!(error.to_string(), "plugin \"nope\" not found");
    let error = plugins.get("net", Kind::Volume, Patience::Long).await.unwrap_err();
    assert!(matches!(error, PluginError::NotImplemented { .. }));
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("dead.sock")).unwrap());
    let error = plugins.get("dead", Kind::Volume, Patience::Brief).await.unwrap_err().to_string();
    assert!(error.starts_with("Post \"http://%2F") && error.ends_with("connect: connection refused"), "{error}");
    assert!(plugins.all(Kind::Network).await.contains_key("net"));
    assert!(plugins.all(Kind::Volume).await.is_empty());
}

#[tokio::test]
async fn hostile_answers_are_errors() {
    let (dir, plugins) = place();
    plugin(
        &dir.path().join("bad.sock"),
        &[
            volume_manifest(),
            ("VolumeDriver.List", 200, "x".repeat(9 << 20)),
            ("VolumeDriver.Create", 500, "y".repeat(1 << 20)),
            ("VolumeDriver.Mount", 200, r#"{"Mountpoint":"../etc"}"#.into()),
            ("VolumeDriver.Path", 200, "[[[[".into()),
        ],
    );
    let driver = VolumeDriver(plugins.get("bad", Kind::Volume, Patience::Long).await.unwrap());
    assert!(driver.list(Patience::Brief).await.unwrap_err().to_string().contains("longer than"));
    assert!(driver.create("x", None).await.unwrap_err().to_string().len() < 5000);
    assert!(driver.mount("x", "id").await.unwrap_err().to_string().contains("no absolute path"));
    assert!(matches!(driver.path("x", Patience::Brief).await, Err(PluginError::Answer { .. })));
}

#[tokio::test]
async fn a_plugin_that_appears_late_is_reached() {
    let (dir, plugins) = place();
    let socket = dir.path().join("late.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let asked = tokio::spawn({
        let plugins = plugins.clone();
        async move { plugins.get("late", Kind::Volume, Patience::Long).await.map(|p| p.name().to_owned()) }
    });
    tokio::task::yield_now().await;
    // By rename: who looks meanwhile finds the one or the other.
    let other = dir.path().join("late.new");
    plugin(&other, &[volume_manifest()]);
    std::fs::rename(&other, &socket).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), "late");
}

#[tokio::test]
async fn networks() {
    let (dir, plugins) = place();
    let calls = plugin(
        &dir.path().join("net.sock"),
        &[
            ("Plugin.Activate", 200, r#"{"Implements":["NetworkDriver"]}"#.into()),
            ("NetworkDriver.GetCapabilities", 200, r#"{"Scope":"local"}"#.into()),
            ("NetworkDriver.CreateEndpoint", 200, r#"{"Interface":{"MacAddress":"02:42:00:00:00:09"}}"#.into()),
            (
                "NetworkDriver.Join",
                200,
                r#"{"InterfaceName":{"SrcName":"v0","DstPrefix":"eth"},"Gateway":"10.9.0.1",
                    "StaticRoutes":[{"Destination":"10.8.0.0/16","RouteType":0,"NextHop":"10.9.0.7"}]}"#
                    .into(),
            ),
            ("NetworkDriver.Leave", 200, r#"{"Err":"not joined"}"#.into()),
        ],
    );
    let driver = NetworkDriver(plugins.get("net", Kind::Network, Patience::Long).await.unwrap());
    assert_eq!(driver.capability().await.unwrap().scope, "local");
    let id = EndpointId { network: "n", endpoint: "e" };
    let asked = Interface { address: "10.9.0.2/24".into(), ..Interface::default() };
    let interface = driver.create_endpoint(id, &asked, &serde_json::Map::new()).await.unwrap();
    assert_eq!(interface.mac_address, "02:42:00:00:00:09");
    let joined = driver.join(id, "/proc/1/ns/net", &serde_json::Map::new()).await.unwrap();
    assert_eq!(joined.interface.unwrap().source, "v0");
    assert_eq!(joined.routes[0].next_hop, "10.9.0.7");
    assert_eq!(driver.leave(id).await.unwrap_err().to_string(), "remote: not joined");
    // A method that an older plugin does not know.
    driver.program_external_connectivity(id, &serde_json::Map::new()).await.unwrap();
    let join = calls.lock().unwrap().iter().find(|(method, _)| method == "/NetworkDriver.Join").unwrap().1.clone();
    let wanted =
        serde_json::json!({"NetworkID": "n", "EndpointID": "e", "SandboxKey": "/proc/1/ns/net", "Options": {}});
    assert_eq!(join, wanted);
}
