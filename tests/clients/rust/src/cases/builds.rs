use crate::kit::Kit;
use bollard::{body_full, models::BuildInfo, query_parameters::*};
use futures_util::TryStreamExt;
use std::collections::HashMap;

pub async fn builds(kit: &Kit) {
    let docker = &kit.docker;
    let text = format!(
        "FROM {image}\nARG who\nRUN echo for $who > /for; cat /etc/hosts; ls /sys/class/net\nFROM {image} AS wanted\n\
         COPY --from=0 /for /for\nRUN true\nFROM scratch\n",
        image = kit.image
    );
    let options = BuildImageOptionsBuilder::new()
        .dockerfile("sub/File")
        .t("bollard:built")
        .buildargs(&HashMap::from([("who", "bollard")]))
        .labels(&HashMap::from([("l", "1")]))
        .target("wanted")
        .networkmode("none")
        .extrahosts("there:1.2.3.4")
        .cachefrom(&vec!["bollard:none"])
        .shmsize(8 << 20)
        .memory(128 << 20)
        .nocache(true)
        .rm(true)
        .forcerm(true)
        .build();
    let lines = build(kit, options, "sub/File", &text).await.expect("is built");
    let said: String = lines.iter().filter_map(|line| line.stream.as_deref()).collect();
    assert!(said.contains("1.2.3.4\tthere\n") && !said.contains("eth0"), "{said}");
    assert!(said.ends_with("Successfully tagged bollard:built\n"), "{said}");
    let found = docker.inspect_image("bollard:built").await.expect("is inspected");
    assert_eq!(lines.iter().rev().find_map(|line| line.aux.as_ref()?.id.clone()), found.id);
    assert_eq!(found.config.and_then(|config| config.labels), Some(HashMap::from([("l".to_owned(), "1".to_owned())])));

    let failing = format!("FROM {}\nRUN exit 5\n", kit.image);
    let options = BuildImageOptionsBuilder::new().dockerfile("Dockerfile").forcerm(true).build();
    let failed = build(kit, options, "Dockerfile", &failing).await.expect_err("fails").to_string();
    assert!(failed.contains("returned a non-zero code: 5"), "{failed}");
    docker.remove_image("bollard:built", None::<RemoveImageOptions>, None).await.expect("is removed");
}

async fn build(
    kit: &Kit,
    options: BuildImageOptions,
    name: &str,
    text: &str,
) -> Result<Vec<BuildInfo>, bollard::errors::Error> {
    kit.docker.build_image(options, None, Some(body_full(archive(name, text).into()))).try_collect().await
}

/// An archive of one file.
fn archive(name: &str, content: &str) -> Vec<u8> {
    let mut header = [0; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644");
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", content.len()));
    field(136, "00000000000");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut bytes = [&header, content.as_bytes()].concat();
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}
