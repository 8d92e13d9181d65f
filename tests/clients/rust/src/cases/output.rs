use crate::kit::{Kit, split, words};
use bollard::query_parameters::*;
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

pub async fn logs(kit: &Kit) {
    let docker = &kit.docker;
    let id =
        kit.start("logs", kit.shell("for i in 1 2 3; do echo line $i; done; echo err >&2; sleep 0.3; echo late")).await;
    let both = LogsOptionsBuilder::new().stdout(true).stderr(true);
    let (out, err) = split(docker.logs(&id, Some(both.clone().follow(true).build()))).await;
    assert_eq!((out.as_str(), err.as_str()), ("line 1\nline 2\nline 3\nlate\n", "err\n"));
    let read = async |options: LogsOptionsBuilder| split(docker.logs(&id, Some(options.build()))).await;
    assert_eq!(read(LogsOptionsBuilder::new().stderr(true)).await, (String::new(), "err\n".into()));
    assert_eq!(read(both.clone().tail("1")).await.0, "late\n");
    assert_eq!(read(both.clone().since(i32::MAX)).await, (String::new(), String::new()));
    assert_eq!(read(both.clone().until(1)).await, (String::new(), String::new()));
    let (stamped, _) = read(both.timestamps(true)).await;
    assert!(stamped.lines().all(|line| line.as_bytes()[10] == b'T' && line.contains("Z l")), "{stamped}");
}

pub async fn attach(kit: &Kit) {
    let docker = &kit.docker;
    let mut body = kit.shell("cat; echo end >&2");
    (body.open_stdin, body.stdin_once, body.attach_stdin) = (Some(true), Some(true), Some(true));
    let id = kit.create("attach", body).await;
    let options =
        AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).stderr(true).logs(true).build();
    let mut attached = docker.attach_container(&id, Some(options)).await.expect("is attached");
    docker.start_container(&id, None::<StartContainerOptions>).await.expect("starts");
    attached.input.write_all(b"first\n").await.expect("is written");
    let first = attached.output.next().await.expect("comes").expect("is output");
    assert_eq!(first.into_bytes(), "first\n");
    attached.input.shutdown().await.expect("is closed");
    drop(attached.input);
    assert_eq!(split(attached.output).await, (String::new(), "end\n".into()));
    assert_eq!(kit.wait(&id).await, 0);
}

pub async fn attach_terminal(kit: &Kit) {
    let docker = &kit.docker;
    let mut body = kit.shell("read x; stty size; exit 5");
    (body.tty, body.open_stdin) = (Some(true), Some(true));
    let id = kit.create("terminal", body).await;
    let options = AttachContainerOptionsBuilder::new().stream(true).stdin(true).stdout(true).build();
    let mut attached = docker.attach_container(&id, Some(options)).await.expect("is attached");
    docker.start_container(&id, None::<StartContainerOptions>).await.expect("starts");
    docker
        .resize_container_tty(&id, ResizeContainerTTYOptionsBuilder::new().h(33).w(99).build())
        .await
        .expect("is resized");
    attached.input.write_all(b"go\r").await.expect("is written");
    assert_eq!(split(attached.output).await.0, "go\r\n33 99\r\n");
    assert_eq!(kit.wait(&id).await, 5);
}

pub async fn stats(kit: &Kit) {
    let docker = &kit.docker;
    let mut body = kit.shell("while :; do :; done");
    body.cmd = Some(words(&["sh", "-c", "while :; do :; done"]));
    let id = kit.start("stats", body).await;
    let once = docker
        .stats(&id, Some(StatsOptionsBuilder::new().stream(false).build()))
        .try_collect::<Vec<_>>()
        .await
        .expect("are read");
    assert_eq!(once.len(), 1);
    let stream = docker.stats(&id, Some(StatsOptionsBuilder::new().stream(true).build()));
    let several: Vec<_> = stream.take(2).try_collect().await.expect("are read");
    let usage =
        |at: usize| several[at].cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage).expect("has it");
    assert!(usage(1) > usage(0));
    let last = &several[1];
    assert_eq!(last.id.as_deref(), Some(id.as_str()));
    assert!(last.memory_stats.as_ref().and_then(|memory| memory.usage) > Some(0));
    assert!(last.pids_stats.as_ref().and_then(|pids| pids.current) >= Some(1));
}
