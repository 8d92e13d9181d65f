//! What every case needs.

use bollard::{
    API_DEFAULT_VERSION, ClientVersion, Docker,
    container::LogOutput,
    errors::Error,
    exec::{CreateExecOptions, StartExecOptions, StartExecResults},
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions, WaitContainerOptions},
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use std::collections::HashMap;

pub struct Kit {
    pub docker: Docker,
    pub image: String,
}

impl Kit {
    pub async fn connect(image: &str, version: &str) -> Self {
        let host = std::env::var("DOCKER_HOST").expect("DOCKER_HOST is set");
        let asked = version.split_once('.').map(|(major, minor)| ClientVersion {
            major_version: major.parse().expect("a number"),
            minor_version: minor.parse().expect("a number"),
        });
        let docker =
            Docker::connect_with_unix(&host, 60, asked.as_ref().unwrap_or(API_DEFAULT_VERSION)).expect("connects");
        let docker = if asked.is_some() { docker } else { docker.negotiate_version().await.expect("negotiates") };
        Self { docker, image: image.to_owned() }
    }

    /// A configuration that runs a shell line, without a network.
    pub fn shell(&self, line: &str) -> ContainerCreateBody {
        ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: Some(words(&["sh", "-c", line])),
            host_config: Some(HostConfig { network_mode: Some("none".into()), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        }
    }

    pub async fn create(&self, name: &str, body: ContainerCreateBody) -> String {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let made = self.docker.create_container(Some(options), body).await.expect("is created");
        assert_eq!(made.id.len(), 64);
        made.id
    }

    pub async fn start(&self, name: &str, body: ContainerCreateBody) -> String {
        let id = self.create(name, body).await;
        self.docker.start_container(&id, None::<StartContainerOptions>).await.expect("starts");
        id
    }

    /// The exit code. Bollard makes an error of those that are not 0.
    pub async fn wait(&self, id: &str) -> i64 {
        let answers: Vec<_> = self.docker.wait_container(id, None::<WaitContainerOptions>).collect().await;
        match answers.as_slice() {
            [Ok(answer)] => answer.status_code,
            [Err(Error::DockerContainerWaitError { code, .. })] => *code,
            other => panic!("wait: {other:?}"),
        }
    }

    /// Runs a command inside; its exit code, standard output and standard error.
    pub async fn exec(&self, id: &str, options: CreateExecOptions<String>) -> (i64, String, String) {
        let exec = self.docker.create_exec(id, options).await.expect("is created").id;
        let StartExecResults::Attached { output, .. } =
            self.docker.start_exec(&exec, None::<StartExecOptions>).await.expect("starts")
        else {
            panic!("not attached");
        };
        let (out, err) = split(output).await;
        let found = self.docker.inspect_exec(&exec).await.expect("is inspected");
        assert_eq!((found.running, found.container_id.as_deref()), (Some(false), Some(id)));
        (found.exit_code.expect("has ended"), out, err)
    }
}

/// What came on standard output and standard error, a terminal's as the former.
pub async fn split(stream: impl Stream<Item = Result<LogOutput, Error>>) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut stream = std::pin::pin!(stream);
    while let Some(piece) = stream.next().await {
        match piece.expect("a piece of output") {
            LogOutput::StdErr { message } => err.extend_from_slice(&message),
            LogOutput::StdOut { message } | LogOutput::Console { message } => out.extend_from_slice(&message),
            LogOutput::StdIn { message } => panic!("standard input came back: {message:?}"),
        }
    }
    (String::from_utf8(out).expect("text"), String::from_utf8(err).expect("text"))
}

pub async fn bytes(stream: impl Stream<Item = Result<bytes::Bytes, Error>>) -> Vec<u8> {
    stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .expect("a download")
}

pub fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

pub fn filter(key: &str, value: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([(key.to_owned(), vec![value.to_owned()])])
}

/// The status and message of a refusal.
pub fn refusal<T: std::fmt::Debug>(answer: Result<T, Error>) -> (u16, String) {
    match answer {
        Err(Error::DockerResponseServerError { status_code, message }) => (status_code, message),
        other => panic!("not refused: {other:?}"),
    }
}
