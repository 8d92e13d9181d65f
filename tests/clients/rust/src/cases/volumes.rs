use crate::kit::{Kit, filter, refusal};
use bollard::{
    models::{HostConfig, Mount, MountType, VolumeCreateRequest},
    query_parameters::*,
};
use std::collections::HashMap;

pub async fn volumes(kit: &Kit) {
    let docker = &kit.docker;
    let labels = Some(HashMap::from([("suite".to_owned(), "bollard".to_owned())]));
    let wanted = VolumeCreateRequest {
        name: Some("bollard".into()),
        driver: Some("local".into()),
        labels,
        ..VolumeCreateRequest::default()
    };
    let made = docker.create_volume(wanted).await.expect("is created");
    assert_eq!((made.name.as_str(), made.driver.as_str()), ("bollard", "local"));
    let options = ListVolumesOptionsBuilder::new().filters(&filter("label", "suite=bollard")).build();
    assert_eq!(docker.list_volumes(Some(options)).await.expect("are listed").volumes.expect("has some").len(), 1);

    let mut body = kit.shell("echo kept > /v/file; cat /m/file");
    body.host_config = Some(HostConfig {
        network_mode: Some("none".into()),
        binds: Some(vec!["bollard:/v".into()]),
        mounts: Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            source: Some("bollard".into()),
            target: Some("/m".into()),
            read_only: Some(true),
            ..Mount::default()
        }]),
        ..HostConfig::default()
    });
    let id = kit.start("keeps", body).await;
    assert_eq!(kit.wait(&id).await, 0);
    assert_eq!(refusal(docker.remove_volume("bollard", None::<RemoveVolumeOptions>).await).0, 409);
    docker.remove_container(&id, None::<RemoveContainerOptions>).await.expect("is removed");
    assert_eq!(
        docker.inspect_volume("bollard").await.expect("is inspected").scope.map(|scope| scope.to_string()).as_deref(),
        Some("local")
    );
    docker
        .remove_volume("bollard", Some(RemoveVolumeOptionsBuilder::new().force(true).build()))
        .await
        .expect("is removed");
    assert_eq!(refusal(docker.inspect_volume("bollard").await).0, 404);
    docker.create_volume(VolumeCreateRequest::default()).await.expect("is created");
    docker.prune_volumes(None::<PruneVolumesOptions>).await.expect("are pruned");
}
