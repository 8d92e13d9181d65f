use crate::kit::{Kit, split, words};
use bollard::{
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    query_parameters::ResizeExecOptionsBuilder,
};
use futures_util::{StreamExt, stream};
use tokio::io::AsyncWriteExt;

pub fn command(list: &[&str]) -> CreateExecOptions<String> {
    CreateExecOptions {
        cmd: Some(words(list)),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    }
}

pub async fn exec(kit: &Kit) {
    let docker = &kit.docker;
    let id = kit.start("exec", kit.shell("sleep 1000")).await;
    let line = "echo $A; pwd; id -un; echo err >&2; exit 9";
    let options = CreateExecOptions {
        env: Some(words(&["A=1"])),
        working_dir: Some("/data".into()),
        user: Some("alice".into()),
        ..command(&["sh", "-c", line])
    };
    assert_eq!(kit.exec(&id, options).await, (9, "1\n/data\nalice\n".into(), "err\n".into()));
    let privileged = CreateExecOptions { privileged: Some(true), ..command(&["grep", "CapEff", "/proc/self/status"]) };
    let plain = kit.exec(&id, command(&["grep", "CapEff", "/proc/self/status"])).await.1;
    assert_ne!(kit.exec(&id, privileged).await.1, plain);

    let fed = docker
        .create_exec(&id, CreateExecOptions { attach_stdin: Some(true), ..command(&["cat"]) })
        .await
        .expect("is created")
        .id;
    let StartExecResults::Attached { output, mut input } =
        docker.start_exec(&fed, None::<StartExecOptions>).await.expect("starts")
    else {
        panic!("not attached");
    };
    input.write_all(b"typed\n").await.expect("is written");
    input.shutdown().await.expect("is closed");
    drop(input);
    assert_eq!(split(output).await.0, "typed\n");

    let alone = docker.create_exec(&id, command(&["touch", "/alone"])).await.expect("is created").id;
    let detached = StartExecOptions { detach: true, ..StartExecOptions::default() };
    assert!(matches!(docker.start_exec(&alone, Some(detached)).await.expect("starts"), StartExecResults::Detached));
    while docker.inspect_exec(&alone).await.expect("is inspected").running != Some(false) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(kit.exec(&id, command(&["ls", "/alone"])).await.1, "/alone\n");
}

pub async fn many(kit: &Kit) {
    let id = kit.start("many", kit.shell("sleep 1000")).await;
    let texts = (0..40).map(|number| format!("{number}"));
    let results: Vec<_> = stream::iter(texts)
        .map(|text| async { (kit.exec(&id, command(&["echo", &text])).await, text) })
        .buffer_unordered(20)
        .collect()
        .await;
    for ((code, out, err), text) in results {
        assert_eq!((code, out, err), (0, format!("{text}\n"), String::new()));
    }
}

pub async fn terminal(kit: &Kit) {
    let docker = &kit.docker;
    let id = kit.start("terminal", kit.shell("sleep 1000")).await;
    let options = CreateExecOptions {
        tty: Some(true),
        attach_stdin: Some(true),
        detach_keys: Some("ctrl-x".into()),
        ..command(&["sh", "-c", "read x; stty size; exit 4"])
    };
    let exec = docker.create_exec(&id, options).await.expect("is created").id;
    let start = StartExecOptions { tty: true, ..StartExecOptions::default() };
    let StartExecResults::Attached { output, mut input } = docker.start_exec(&exec, Some(start)).await.expect("starts")
    else {
        panic!("not attached");
    };
    docker.resize_exec(&exec, ResizeExecOptionsBuilder::new().h(31).w(101).build()).await.expect("is resized");
    input.write_all(b"go\r").await.expect("is written");
    assert_eq!(split(output).await.0, "go\r\n31 101\r\n");
    assert_eq!(docker.inspect_exec(&exec).await.expect("is inspected").exit_code, Some(4));
}
