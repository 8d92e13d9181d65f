use crate::kit::Kit;
use bollard::query_parameters::*;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::HashMap;

pub async fn system(kit: &Kit) {
    let docker = &kit.docker;
    assert_eq!(docker.ping().await.expect("answers"), "OK");
    let version = docker.version().await.expect("answers");
    assert_eq!(version.os.as_deref(), Some("linux"));
    kit.start("counted", kit.shell("sleep 1000")).await;
    let info = docker.info().await.expect("answers");
    assert_eq!((info.containers_running, info.images), (Some(1), Some(1)));
    assert_eq!(info.os_type.as_deref(), Some("linux"));
    docker.df(None::<DataUsageOptions>).await.expect("answers");
}

pub async fn events(kit: &Kit) {
    let docker = &kit.docker;
    let filters = HashMap::from([("type", vec!["container"]), ("event", vec!["create", "start", "die"])]);
    let stream = docker.events(Some(EventsOptionsBuilder::new().since(&now()).filters(&filters).build()));
    let mut stream = std::pin::pin!(stream);
    let act = async {
        let id = kit.start("seen", kit.shell("exit 2")).await;
        kit.wait(&id).await;
        id
    };
    let read = async {
        let mut seen = Vec::new();
        while let Some(event) = stream.next().await {
            let event = event.expect("is an event");
            let actor = event.actor.expect("has one");
            seen.push((event.action.expect("has one"), actor.id.expect("has one")));
            if seen.last().is_some_and(|(action, _)| action == "die") {
                assert_eq!(actor.attributes.expect("has some")["exitCode"], "2");
                break;
            }
        }
        seen
    };
    let (seen, id) = tokio::join!(read, act);
    let actions: Vec<_> = seen.iter().filter(|(_, of)| *of == id).map(|(action, _)| action.as_str()).collect();
    assert_eq!(actions, ["create", "start", "die"]);

    let past = EventsOptionsBuilder::new().since("1").until(&now()).filters(&filters).build();
    let past: Vec<_> = docker.events(Some(past)).try_collect().await.expect("are read");
    assert!(past.iter().any(|event| event.actor.as_ref().is_some_and(|actor| actor.id.as_ref() == Some(&id))));
}

fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}
