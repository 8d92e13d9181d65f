//! `RUN`: a command in a container whose layer becomes the image's.

use super::backend::{Builder, Upper};
use super::run_mounts::Mounts;
use crate::container::Container;
use crate::own_layer::OwnLayer;
use crate::stream::{HEADER, STDERR};
use crate::{Engine, RemoveOptions, WaitCondition, blocking};
use gantry_api_types::{ContainerConfig, ContainerCreateRequest, HealthConfig, HostConfig, NetworkingConfig};
use gantry_image_builder::dockerfile::{Network, Security};
use gantry_image_builder::{BuildError, Console, RunAction, Step};
use gantry_model::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// The longest piece of output that is told at once.
const PIECE: usize = 32 << 10;

/// Clients of this API cannot ask for more than others have; whoever runs the engine can allow it.
const INSECURE: &str = "security.insecure is not allowed: the engine's daemon.json has no \
                        \"builder\": {\"entitlements\": {\"security-insecure\": true}}";

impl Builder {
    /// Runs a command and makes an image of what it did.
    pub(super) async fn run(&self, step: Step, action: RunAction, console: &Console) -> Result<String, BuildError> {
        let Some(parent) = step.parent.clone() else {
            return Err(Error::invalid("No image was generated for this stage yet: there is nothing to run in").into());
        };
        if action.security == Security::Insecure && !self.engine.config.insecure_builds {
            return Err(Error::forbidden(INSECURE).into());
        }
        let mounts = self.mounts(&action).await?;
        let request = self.create_request(&parent, &action, &mounts);
        let created = self.engine.create_for_build(request).await?;
        let container = self.engine.find(&created.id)?;
        let running = Running { engine: self.engine.clone(), container: container.clone(), keep: false };
        let short: String = created.id.chars().take(12).collect();
        console.say(format!(" ---> Running in {short}\n")).await;
        let failure = match self.run_to_its_end(&container, console).await {
            Ok(0) => None,
            Ok(code) => {
                let message = format!("The command '{}' returned a non-zero code: {code}", action.shown);
                Some(BuildError::Command { code, message })
            }
            Err(e) => Some(e.into()),
        };
        if let Some(failure) = failure {
            // Before the client hears of the failure, so that it finds nothing left.
            running.remove().await?;
            return Err(failure);
        }
        let upper = self.layer(&container, &mounts).await?;
        // An image that is to be the same each time cannot name what was made for it.
        let made_in = if step.created.is_some() { String::new() } else { container.id.to_string() };
        let image = self.commit(step, Some(upper), made_in).await?;
        drop(mounts);
        if self.request.remove {
            running.remove().await?;
            console.say(format!("Removing intermediate container {short}\n")).await;
        } else {
            running.leave().await?;
        }
        Ok(image)
    }

    fn create_request(&self, image: &str, action: &RunAction, mounts: &Mounts) -> ContainerCreateRequest {
        let config = ContainerConfig {
            image: image.to_owned(),
            cmd: Some(action.command.clone()),
            entrypoint: Some(Vec::new()),
            env: Some(action.environment.clone()),
            attach_stdout: true,
            attach_stderr: true,
            // It is not the image's service that runs.
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
            ..ContainerConfig::default()
        };
        let request = self.request.host_config();
        let network_mode = match action.network {
            Network::Default => request.network_mode.clone(),
            Network::None => "none".to_owned(),
            Network::Host => "host".to_owned(),
        };
        let privileged = action.security == Security::Insecure;
        let (mounts, tmpfs) = (mounts.wanted(), mounts.tmpfs());
        let host_config = HostConfig { network_mode, mounts, tmpfs, privileged, ..request };
        ContainerCreateRequest { config: Some(config), host_config, networking_config: NetworkingConfig::default() }
    }

    /// Starts the container, prints what it prints, and says how it ended.
    async fn run_to_its_end(&self, container: &Arc<Container>, console: &Console) -> Result<i64> {
        let id = container.id.to_string();
        let output = self.engine.attach_output(container).await?;
        let end = self.engine.container_wait(&id, WaitCondition::NextExit)?;
        self.engine.container_start(&id).await?;
        print(output, console).await?;
        let end = end.result().await;
        match end.error {
            Some(e) => Err(Error::internal(e.message)),
            None => Ok(end.status_code),
        }
    }

    /// The container's layer without what the engine made in it.
    async fn layer(&self, container: &Arc<Container>, mounts: &Mounts) -> Result<Upper> {
        let (engine, container, targets) = (self.engine.clone(), container.clone(), mounts.targets());
        // A container that stays keeps its files.
        let is_given = self.request.remove;
        blocking(move || {
            let own = OwnLayer::open(&engine, &container)?;
            super::run_mounts::remove_targets(&own, &targets);
            let layer = own.upper.try_clone()?;
            let skip = Box::new(move |found: &_, path: &_| own.is_ours(found, path));
            Ok::<_, Error>(Upper { layer, skip, keep: None, is_given })
        })
        .await
    }
}

/// Prints output until its end; errors in red, as Docker does.
async fn print(mut output: UnixStream, console: &Console) -> Result<()> {
    // A character may be cut in two by the pieces; by stream.
    let mut rests = [Vec::new(), Vec::new()];
    let mut header = [0; HEADER];
    while output.read_exact(&mut header).await.is_ok() {
        let is_error = header[0] == STDERR;
        let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        while left > 0 {
            let mut bytes = std::mem::take(&mut rests[usize::from(is_error)]);
            let start = bytes.len();
            bytes.resize(start + left.min(PIECE), 0);
            if output.read_exact(&mut bytes[start..]).await.is_err() {
                return Ok(());
            }
            left -= bytes.len() - start;
            rests[usize::from(is_error)] = bytes.split_off(whole_characters(&bytes));
            say(&bytes, is_error, console).await;
        }
    }
    for (rest, is_error) in rests.into_iter().zip([false, true]) {
        say(&rest, is_error, console).await;
    }
    Ok(())
}

async fn say(bytes: &[u8], is_error: bool, console: &Console) {
    if bytes.is_empty() {
        return;
    }
    let text = String::from_utf8_lossy(bytes).into_owned();
    console.say(if is_error { format!("\u{1b}[91m{text}\u{1b}[0m") } else { text }).await;
}

/// How many bytes are whole characters; what is no text at all counts as such.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() => e.valid_up_to(),
        _ => bytes.len(),
    }
}

/// A container that goes with the build.
struct Running {
    engine: Arc<Engine>,
    container: Arc<Container>,
    keep: bool,
}

const REMOVE: RemoveOptions = RemoveOptions { force: true, volumes: true, link: false };

impl Running {
    async fn remove(mut self) -> Result<()> {
        self.keep = true;
        match self.engine.container_remove(&self.container.id.to_string(), REMOVE).await {
            // A client was faster.
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => Err(e),
            _ => Ok(()),
        }
    }

    /// The client wants to keep it: it is a container like others now.
    async fn leave(mut self) -> Result<()> {
        self.container.write().build = false;
        self.engine.store(&self.container).await?;
        self.keep = true;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let (engine, container) = (self.engine.clone(), self.container.clone());
        self.engine.handle.spawn(async move {
            match engine.container_remove(&container.id.to_string(), REMOVE).await {
                Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                    tracing::warn!("container {} of a build: {e}", container.id);
                }
                _ => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::whole_characters;

    #[test]
    fn characters_are_not_cut() {
        let text = "aé".as_bytes();
        assert_eq!(whole_characters(text), 3);
        assert_eq!(whole_characters(&text[..2]), 1);
        assert_eq!(whole_characters(b"\xff\xfe"), 2);
        assert_eq!(whole_characters(b""), 0);
    }
}
