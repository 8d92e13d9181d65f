use crate::kit::{Kit, bytes, filter, refusal};
use bollard::{body_full, models::ContainerConfig, query_parameters::*};
use futures_util::TryStreamExt;

pub async fn images(kit: &Kit) {
    let docker = &kit.docker;
    let found = docker.inspect_image(&kit.image).await.expect("is inspected");
    let id = found.id.expect("has an id");
    docker
        .tag_image(&kit.image, Some(TagImageOptionsBuilder::new().repo("bollard").tag("one").build()))
        .await
        .expect("is tagged");
    let listed = docker
        .list_images(Some(ListImagesOptionsBuilder::new().filters(&filter("reference", "bollard:one")).build()))
        .await
        .expect("are listed");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, id);
    assert!(!docker.image_history("bollard:one").await.expect("is listed").is_empty());
    let gone = docker.remove_image("bollard:one", None::<RemoveImageOptions>, None).await.expect("is removed");
    assert_eq!(gone[0].untagged.as_deref(), Some("bollard:one"));
    assert_eq!(refusal(docker.inspect_image("bollard:one").await).0, 404);

    let container = kit.start("committed", kit.shell("echo new > /new")).await;
    kit.wait(&container).await;
    let options = CommitContainerOptionsBuilder::new()
        .container(&container)
        .repo("bollard")
        .tag("two")
        .comment("made")
        .author("me")
        .pause(true)
        .build();
    let config = ContainerConfig { cmd: Some(vec!["cat".into(), "/new".into()]), ..ContainerConfig::default() };
    docker.commit_container(options, config).await.expect("is committed");
    let found = docker.inspect_image("bollard:two").await.expect("is inspected");
    assert_eq!((found.author.as_deref(), found.comment.as_deref()), (Some("me"), Some("made")));
    let mut body = kit.shell("");
    (body.image, body.cmd) = (Some("bollard:two".into()), None);
    let id = kit.start("two", body).await;
    assert_eq!(kit.wait(&id).await, 0);
    assert_eq!(
        crate::kit::split(docker.logs(&id, Some(LogsOptionsBuilder::new().stdout(true).build()))).await.0,
        "new\n"
    );
    for container in [&id, &container] {
        docker.remove_container(container, None::<RemoveContainerOptions>).await.expect("is removed");
    }
    docker
        .remove_image("bollard:two", Some(RemoveImageOptionsBuilder::new().force(true).build()), None)
        .await
        .expect("is removed");
}

pub async fn in_and_out(kit: &Kit) {
    let docker = &kit.docker;
    docker
        .tag_image(&kit.image, Some(TagImageOptionsBuilder::new().repo("bollard").tag("saved").build()))
        .await
        .expect("is tagged");
    let saved = bytes(docker.export_image("bollard:saved")).await;
    docker.remove_image("bollard:saved", None::<RemoveImageOptions>, None).await.expect("is removed");
    let said: Vec<_> = docker
        .import_image(ImportImageOptionsBuilder::new().build(), body_full(saved.into()), None)
        .try_collect()
        .await
        .expect("is loaded");
    assert!(said.iter().any(|line| line.stream.as_deref() == Some("Loaded image: bollard:saved\n")), "{said:?}");

    let container = kit.create("exported", kit.shell("true")).await;
    let tar = bytes(docker.export_container(&container)).await;
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo("bollard")
        .tag("flat")
        .message("flat")
        .changes(vec!["CMD [\"true\"]".into()])
        .build();
    docker
        .create_image(Some(options), Some(body_full(tar.into())), None)
        .try_collect::<Vec<_>>()
        .await
        .expect("is imported");
    let found = docker.inspect_image("bollard:flat").await.expect("is inspected");
    assert_eq!(found.config.and_then(|config| config.cmd), Some(vec!["true".to_owned()]));
    docker.remove_image("bollard:flat", None::<RemoveImageOptions>, None).await.expect("is removed");
    let pruned = docker
        .prune_images(Some(PruneImagesOptionsBuilder::new().filters(&filter("dangling", "true")).build()))
        .await
        .expect("are pruned");
    assert!(pruned.space_reclaimed.is_some());
}
