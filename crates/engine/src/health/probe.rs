//! One check: an exec with its output in a pipe, ended when its time is up.

use super::settings::{Settings, go_duration};
use super::state::Outcome;
use crate::Engine;
use crate::container::Container;
use crate::exec::{Exec, ExecIo};
use crate::stream::DetachKeys;
use gantry_api_types::ExecCreateRequest;
use gantry_model::signal::SIGKILL;
use gantry_model::{Error, Result, Timestamp};
use gantry_shim_protocol::{RequestBody, Target};
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// What is kept of a command's output.
const MOST_OUTPUT: usize = 4096;
const CHUNK: usize = 4096;
/// What somebody whom the command left behind may say after its end: as much as the pipe holds.
const LAST_WORDS: usize = 64 * 1024;

/// Runs the command. Dropping the future ends it.
pub(super) async fn run(engine: &Arc<Engine>, container: &Arc<Container>, settings: &Settings) -> Outcome {
    let start = Timestamp::now();
    let (code, output) = match tokio::time::timeout(settings.timeout, execute(engine, container, settings)).await {
        Ok(Ok(done)) => done,
        Ok(Err(e)) => (-1, e.to_string()),
        Err(_elapsed) => (-1, format!("Health check exceeded timeout ({})", go_duration(settings.timeout))),
    };
    Outcome { start, end: Timestamp::now(), code, output }
}

/// A probe's exec. Dropping it before its end kills the process.
struct Probe {
    engine: Arc<Engine>,
    container: Arc<Container>,
    exec: Arc<Exec>,
    ended: bool,
}

impl Drop for Probe {
    fn drop(&mut self) {
        if self.ended {
            // Nobody asks for it: only the check's result is shown.
            self.engine.execs.forget(&self.exec);
            return;
        }
        let (engine, exec, link) = (self.engine.clone(), self.exec.clone(), self.container.shim());
        tokio::spawn(async move {
            if let Some(link) = link {
                let target = Target::Exec(exec.id.to_string());
                if link.perform(RequestBody::Signal { target, signal: SIGKILL }, &[]).await.is_ok() {
                    exec.exit_code().await;
                }
            }
            engine.execs.forget(&exec);
        });
    }
}

async fn execute(engine: &Arc<Engine>, container: &Arc<Container>, settings: &Settings) -> Result<(i64, String)> {
    if settings.command.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    let request = ExecCreateRequest {
        cmd: Some(settings.command.clone()),
        attach_stdout: true,
        attach_stderr: true,
        ..ExecCreateRequest::default()
    };
    let exec = Arc::new(Exec::new(container.id, request, DetachKeys::parse(None)?));
    engine.keep_health(container, Some(exec.id))?;
    engine.add_exec(container, &exec)?;
    let mut probe = Probe { engine: engine.clone(), container: container.clone(), exec: exec.clone(), ended: false };
    exec.claim()?;
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from)?;
    let mut output = pipe::Receiver::from_owned_fd(read)?;
    // One pipe for both, so that the lines come in the order in which they were written.
    let ends = ExecIo { stdout: Some(write.try_clone()?), stderr: Some(write), ..ExecIo::default() };
    let launched = engine.launch_exec(container, &exec, Some(&ends)).await;
    drop(ends);
    if let Err(e) = launched {
        probe.ended = true;
        return Err(e);
    }
    let (code, text) = collect(&exec, &mut output).await?;
    probe.ended = true;
    Ok((code, text))
}

/// The output up to the end of the process, and its exit status.
async fn collect(exec: &Exec, output: &mut pipe::Receiver) -> io::Result<(i64, String)> {
    let (mut kept, mut chunk) = (Kept::default(), vec![0; CHUNK]);
    let ended = exec.exit_code();
    tokio::pin!(ended);
    let code = loop {
        tokio::select! {
            code = &mut ended => break code,
            read = output.read(&mut chunk) => match read? {
                0 => break ended.await,
                n => kept.push(&chunk[..n]),
            },
        }
    };
    let mut budget = LAST_WORDS;
    while budget > 0 {
        match output.try_read(&mut chunk) {
            Ok(n @ 1..) => {
                kept.push(&chunk[..n]);
                budget = budget.saturating_sub(n);
            }
            _ => break,
        }
    }
    Ok((code, kept.into_text()))
}

/// The first bytes of an output.
#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    cut: bool,
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        let room = MOST_OUTPUT - self.bytes.len();
        self.cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.cut {
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, MOST_OUTPUT};

    #[test]
    fn long_output_is_cut() {
        let mut kept = Kept::default();
        kept.push(&vec![b'x'; MOST_OUTPUT - 1]);
        kept.push(b"ab");
        kept.push(b"c");
        let text = kept.into_text();
        assert!(text.ends_with("xa...") && text.len() == MOST_OUTPUT + 3);
        let mut exact = Kept::default();
        exact.push(&vec![b'x'; MOST_OUTPUT]);
        assert_eq!(exact.into_text().len(), MOST_OUTPUT);
    }
}
