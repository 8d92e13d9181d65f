use crate::kit::{Kit, filter, refusal};
use bollard::{
    models::{
        EndpointSettings, Ipam, IpamConfig, NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest,
    },
    query_parameters::*,
};

pub async fn networks(kit: &Kit) {
    let docker = &kit.docker;
    let listed = docker.list_networks(None::<ListNetworksOptions>).await.expect("are listed");
    let mut names: Vec<_> = listed.iter().filter_map(|one| one.name.as_deref()).collect();
    names.sort_unstable();
    assert_eq!(names, ["bridge", "host", "none"]);
    let found = docker.inspect_network("bridge", None::<InspectNetworkOptions>).await.expect("is inspected");
    assert_eq!((found.driver.as_deref(), found.scope.as_deref()), (Some("bridge"), Some("local")));
    assert_eq!(refusal(docker.inspect_network("nothing", None::<InspectNetworkOptions>).await).0, 404);
}

pub async fn of_users(kit: &Kit) {
    let docker = &kit.docker;
    let config = IpamConfig { subnet: Some("10.123.0.0/24".into()), ..IpamConfig::default() };
    let wanted = NetworkCreateRequest {
        name: "bollard".into(),
        driver: Some("bridge".into()),
        ipam: Some(Ipam { config: Some(vec![config]), ..Ipam::default() }),
        ..NetworkCreateRequest::default()
    };
    let made = docker.create_network(wanted).await.expect("is created");
    let options = ListNetworksOptionsBuilder::new().filters(&filter("name", "bollard")).build();
    assert_eq!(docker.list_networks(Some(options)).await.expect("are listed")[0].id, Some(made.id));
    let mut body = kit.shell("sleep 1000");
    body.host_config = None;
    let id = kit.start("member", body).await;
    let endpoint = EndpointSettings { aliases: Some(vec!["alias".into()]), ..EndpointSettings::default() };
    let join = NetworkConnectRequest { container: id.clone(), endpoint_config: Some(endpoint) };
    docker.connect_network("bollard", join).await.expect("is connected");
    let found = docker.inspect_container(&id, None::<InspectContainerOptions>).await.expect("is inspected");
    let networks = found.network_settings.expect("has some").networks.expect("has some");
    assert!(networks["bollard"].ip_address.as_deref().is_some_and(|address| address.starts_with("10.123.0.")));
    assert_eq!(refusal(docker.remove_network("bollard").await).0, 403);
    docker
        .disconnect_network("bollard", NetworkDisconnectRequest { container: id, force: Some(true) })
        .await
        .expect("is disconnected");
    docker.remove_network("bollard").await.expect("is removed");
    docker.prune_networks(None::<PruneNetworksOptions>).await.expect("are pruned");
}
