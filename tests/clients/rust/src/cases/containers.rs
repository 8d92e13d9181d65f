use crate::kit::{Kit, bytes, filter, refusal, words};
use bollard::{
    body_full,
    models::{
        ContainerStateStatusEnum, ContainerUpdateBody, HealthConfig, HealthStatusEnum, HostConfig, ResourcesUlimits,
        RestartPolicy, RestartPolicyNameEnum,
    },
    query_parameters::*,
};
use std::collections::HashMap;

const FOREVER: &str = "trap 'exit 3' TERM; while :; do sleep 0.1; done";

async fn status(kit: &Kit, id: &str) -> ContainerStateStatusEnum {
    let found = kit.docker.inspect_container(id, None::<InspectContainerOptions>).await.expect("is inspected");
    found.state.expect("has a state").status.expect("has a status")
}

pub async fn lifecycle(kit: &Kit) {
    use ContainerStateStatusEnum as Status;
    let docker = &kit.docker;
    let id = kit.create("life", kit.shell(FOREVER)).await;
    assert_eq!(status(kit, &id).await, Status::CREATED);
    docker.start_container("life", None::<StartContainerOptions>).await.expect("starts");
    docker.rename_container(&id, RenameContainerOptionsBuilder::new().name("other").build()).await.expect("is renamed");
    docker.pause_container("other").await.expect("is paused");
    assert_eq!(status(kit, &id).await, Status::PAUSED);
    docker.unpause_container("other").await.expect("goes on");
    docker
        .restart_container("other", Some(RestartContainerOptionsBuilder::new().t(5).build()))
        .await
        .expect("restarts");
    assert_eq!(status(kit, &id).await, Status::RUNNING);
    docker.stop_container("other", Some(StopContainerOptionsBuilder::new().t(5).build())).await.expect("stops");
    assert_eq!(kit.wait(&id).await, 3);
    // Stopping again changes nothing and is no error.
    docker.stop_container("other", None::<StopContainerOptions>).await.expect("is stopped");
    docker.start_container("other", None::<StartContainerOptions>).await.expect("starts");
    docker
        .kill_container("other", Some(KillContainerOptionsBuilder::new().signal("KILL").build()))
        .await
        .expect("is killed");
    assert_eq!(kit.wait(&id).await, 137);
    assert_eq!(status(kit, &id).await, Status::EXITED);
    docker
        .remove_container("other", Some(RemoveContainerOptionsBuilder::new().v(true).force(true).build()))
        .await
        .expect("is removed");
    assert_eq!(refusal(docker.inspect_container(&id, None::<InspectContainerOptions>).await).0, 404);
}

pub async fn errors(kit: &Kit) {
    let docker = &kit.docker;
    assert_eq!(
        refusal(docker.start_container("nothing", None::<StartContainerOptions>).await),
        (404, "No such container: nothing".into())
    );
    kit.start("busy", kit.shell(FOREVER)).await;
    let again = docker
        .create_container(Some(CreateContainerOptionsBuilder::new().name("busy").build()), kit.shell("true"))
        .await;
    let (code, message) = refusal(again);
    assert!(code == 409 && message.contains("is already in use by container"), "{code} {message}");
    assert_eq!(refusal(docker.remove_container("busy", None::<RemoveContainerOptions>).await).0, 409);
    let (code, message) = refusal(docker.unpause_container("busy").await);
    // Docker blamed itself before 23.
    assert!([409, 500].contains(&code) && message.ends_with("is not paused"), "{code} {message}");
    let mut body = kit.shell("true");
    body.image = Some("no-such-image".into());
    let made = docker.create_container(None::<CreateContainerOptions>, body).await;
    assert_eq!(refusal(made), (404, "No such image: no-such-image:latest".into()));
}

pub async fn list_and_prune(kit: &Kit) {
    let docker = &kit.docker;
    let mut body = kit.shell("true");
    body.labels = Some(HashMap::from([("suite".into(), "bollard".into())]));
    let gone = kit.start("gone", body.clone()).await;
    kit.wait(&gone).await;
    let running = kit.start("running", kit.shell(FOREVER)).await;
    let list = async |options: ListContainersOptionsBuilder| -> Vec<String> {
        let found = docker.list_containers(Some(options.build())).await.expect("are listed");
        found.into_iter().map(|one| one.id.expect("has an id")).collect()
    };
    let all = ListContainersOptionsBuilder::new().all(true);
    assert_eq!(list(ListContainersOptionsBuilder::new()).await, [running.as_str()]);
    assert_eq!(list(all.clone()).await, [running.clone(), gone.clone()]);
    assert_eq!(list(all.clone().limit(1)).await, [running.as_str()]);
    for (key, value) in
        [("label", "suite=bollard"), ("status", "exited"), ("name", "gone"), ("exited", "0"), ("before", "running")]
    {
        assert_eq!(list(all.clone().filters(&filter(key, value))).await, [gone.as_str()], "{key}={value}");
    }
    assert_eq!(list(all.clone().filters(&filter("since", "gone"))).await, [running.as_str()]);
    let sized = docker.list_containers(Some(all.clone().size(true).build())).await.expect("are listed");
    assert!(sized.iter().all(|one| one.size_root_fs > Some(0)), "{sized:?}");
    let options = PruneContainersOptionsBuilder::new().filters(&filter("label", "suite")).build();
    assert_eq!(docker.prune_containers(Some(options)).await.expect("are pruned").containers_deleted, Some(vec![gone]));
    assert_eq!(list(all).await, [running]);
}

pub async fn options(kit: &Kit) {
    let mut body =
        kit.shell("echo $A; id -un; pwd; hostname; ulimit -n; cat /proc/sys/net/core/somaxconn; touch /x 2>&1");
    body.hostname = Some("named".into());
    body.user = Some("alice".into());
    body.env = Some(words(&["A=1"]));
    body.working_dir = Some("/data".into());
    body.volumes = Some(words(&["/anonymous"]));
    body.exposed_ports = Some(words(&["80/tcp"]));
    body.stop_timeout = Some(3);
    body.host_config = Some(HostConfig {
        network_mode: Some("none".into()),
        memory: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        pids_limit: Some(50),
        readonly_rootfs: Some(true),
        cap_drop: Some(words(&["ALL"])),
        init: Some(true),
        shm_size: Some(1 << 20),
        tmpfs: Some(HashMap::from([("/t".into(), "size=1m".into())])),
        sysctls: Some(HashMap::from([("net.core.somaxconn".into(), "77".into())])),
        ulimits: Some(vec![ResourcesUlimits { name: Some("nofile".into()), soft: Some(99), hard: Some(99) }]),
        restart_policy: Some(RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }),
        ..HostConfig::default()
    });
    let id = kit.start("options", body).await;
    kit.wait(&id).await;
    let (out, _) = crate::kit::split(kit.docker.logs(&id, Some(LogsOptionsBuilder::new().stdout(true).build()))).await;
    assert_eq!(out, "1\nalice\n/data\nnamed\n99\n77\ntouch: /x: Read-only file system\n");
    let found = kit.docker.inspect_container(&id, None::<InspectContainerOptions>).await.expect("is inspected");
    let (config, host) = (found.config.expect("has one"), found.host_config.expect("has one"));
    assert_eq!((config.hostname.as_deref(), config.stop_timeout), (Some("named"), Some(3)));
    assert_eq!(config.exposed_ports, Some(words(&["80/tcp"])));
    assert_eq!((host.memory, host.nano_cpus, host.init), (Some(64 << 20), Some(500_000_000), Some(true)));
    assert_eq!(found.mounts.expect("has some")[0].destination.as_deref(), Some("/anonymous"));
}

pub async fn update(kit: &Kit) {
    let id = kit.start("update", kit.shell(FOREVER)).await;
    let wanted = ContainerUpdateBody {
        memory: Some(128 << 20),
        memory_swap: Some(256 << 20),
        cpu_shares: Some(77),
        pids_limit: Some(40),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::ON_FAILURE),
            maximum_retry_count: Some(2),
        }),
        ..ContainerUpdateBody::default()
    };
    kit.docker.update_container(&id, wanted).await.expect("is updated");
    let host = kit
        .docker
        .inspect_container(&id, None::<InspectContainerOptions>)
        .await
        .expect("is inspected")
        .host_config
        .expect("has one");
    assert_eq!((host.memory, host.cpu_shares, host.pids_limit), (Some(128 << 20), Some(77), Some(40)));
    assert_eq!(host.restart_policy.expect("has one").maximum_retry_count, Some(2));
}

pub async fn archive(kit: &Kit) {
    let docker = &kit.docker;
    let id = kit.start("archive", kit.shell("mkdir /from /to; echo content > /from/file; sleep 1000")).await;
    let options = DownloadFromContainerOptionsBuilder::new().path("/from").build();
    // The directory is made a moment after the start.
    let tar = loop {
        let probe = ContainerArchiveInfoOptionsBuilder::new().path("/from/file").build();
        match docker.get_container_archive_info(&id, Some(probe)).await {
            Ok(found) if found.size > 0 => {
                assert_eq!((found.name.as_str(), found.size), ("file", 8));
                break bytes(docker.download_from_container(&id, Some(options))).await;
            }
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let options = UploadToContainerOptionsBuilder::new().path("/to").no_overwrite_dir_non_dir("true").build();
    docker.upload_to_container(&id, Some(options), body_full(tar.into())).await.expect("is uploaded");
    let done = kit.exec(&id, super::execs::command(&["cat", "/to/from/file"])).await;
    assert_eq!(done, (0, "content\n".into(), String::new()));
    let absent = DownloadFromContainerOptionsBuilder::new().path("/absent").build();
    let mut stream = std::pin::pin!(docker.download_from_container(&id, Some(absent)));
    assert_eq!(refusal(futures_util::StreamExt::next(&mut stream).await.expect("an answer")).0, 404);
}

pub async fn changes_export_top(kit: &Kit) {
    let docker = &kit.docker;
    let id = kit.start("changes", kit.shell("touch /new; rm /etc/group; sleep 1000")).await;
    let changes = loop {
        let found = docker.container_changes(&id).await.expect("are listed").unwrap_or_default();
        if found.iter().any(|one| one.path == "/etc/group") {
            break found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let mut lines: Vec<_> = changes.iter().map(|one| format!("{} {}", one.kind as u8, one.path)).collect();
    lines.sort();
    assert_eq!(lines, ["0 /etc", "1 /new", "2 /etc/group"]);
    let top = docker
        .top_processes(&id, Some(TopOptionsBuilder::new().ps_args("-o pid,comm").build()))
        .await
        .expect("are listed");
    assert_eq!(top.titles, Some(words(&["PID", "COMMAND"])));
    assert!(top.processes.expect("has some").iter().flatten().any(|word| word == "sleep" || word == "sh"));
    let tar = bytes(docker.export_container(&id)).await;
    assert_eq!(tar[257..262], *b"ustar");
}

pub async fn health(kit: &Kit) {
    let mut body = kit.shell(FOREVER);
    body.healthcheck = Some(HealthConfig {
        test: Some(words(&["CMD-SHELL", "echo fine"])),
        interval: Some(100_000_000),
        timeout: Some(5_000_000_000),
        retries: Some(2),
        ..HealthConfig::default()
    });
    let id = kit.start("health", body).await;
    loop {
        let found = kit.docker.inspect_container(&id, None::<InspectContainerOptions>).await.expect("is inspected");
        let health = found.state.expect("has one").health.expect("has one");
        if health.status == Some(HealthStatusEnum::HEALTHY) {
            let log = health.log.expect("has one");
            assert_eq!((log[0].exit_code, log[0].output.as_deref()), (Some(0), Some("fine\n")));
            return;
        }
        assert_eq!(health.status, Some(HealthStatusEnum::STARTING));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
