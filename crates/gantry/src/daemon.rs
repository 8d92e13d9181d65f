//! The daemon's life: start, serve, reload, stop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gantry_engine::Engine;
use tracing::{debug, error, info, warn};

use crate::engine_config::{self, Roots};
use crate::listen::{self, Listeners};
use crate::log::{self, LevelHandle};
use crate::notify;
use crate::options::Given;
use crate::personality::Personality;
use crate::pidfile::{PidFile, RootLock};
use crate::serve::Server;
use crate::settings::{Remark, Settings};
use crate::signals::{Ask, Signals};

/// The program of the containers' parents, built beside this one.
static SHIM: &[u8] = include_bytes!(env!("GANTRY_SHIM_PROGRAM"));

/// Runs until told to stop.
pub(crate) fn run(settings: Settings, given: &Given, personality: Personality) -> Result<ExitCode> {
    let level = log::install(&settings);
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "the daemon needs root; see 'gantry check' for what it needs it for"
    );
    for remark in &settings.remarks {
        match remark {
            Remark::Debug(text) => debug!("{text}"),
            Remark::Warning(text) => warn!("{text}"),
        }
    }
    if let Some(score) = settings.oom_score_adjust {
        std::fs::write("/proc/self/oom_score_adj", score.to_string()).context("setting oom-score-adjust")?;
    }
    runtime()?.block_on(serve(settings, given, personality, &level))
}

/// A few threads that mostly sleep: the work is done by the kernel and by the shims. Blocking work
/// (image archives, netlink) has threads of its own that go when they are idle. When they go, a burst of
/// work is over, and its memory goes as well: after 960 containers by eight clients the daemon has 1.5 MB
/// in use, of 19 MB that the allocator keeps without being told and 7 MB with. (To let it give back
/// everything at once, `MIMALLOC_PURGE_DELAY=0`, costs a list of 100 containers a third more.)
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        .max_blocking_threads(128)
        .thread_keep_alive(Duration::from_secs(2))
        .thread_stack_size(1 << 20)
        .thread_name("gantry")
        .on_thread_stop(gantry_linux::heap::give_back)
        .enable_all()
        .build()
}

async fn serve(settings: Settings, given: &Given, personality: Personality, level: &LevelHandle) -> Result<ExitCode> {
    let mut signals = Signals::catch()?;
    info!("Starting up: {}", crate::version());
    let roots = Roots::make(&settings)?;
    let _lock = RootLock::take(&roots.data)?;
    let pidfile = settings.pidfile.clone().unwrap_or_else(|| default_pidfile(personality, &roots));
    let _pidfile = PidFile::write(&pidfile)?;
    // Before the engine opens: a daemon that cannot be reached must not touch anything, and clients
    // that are early wait in the backlog.
    let Listeners { sockets, files: _files, warnings } = listen::open(&settings, personality)?;
    for warning in &warnings {
        warn!("{warning}");
    }
    let shim = gantry_linux::memfd::sealed_program("gantry-shim", SHIM).context("keeping the shim in memory")?;
    // Opened now: an upgrade may replace the file while the daemon runs.
    let program = std::fs::File::open("/proc/self/exe").context("opening the daemon's program")?;
    let config = engine_config::build(&settings, &roots, shim, program.into(), warnings)?;
    let opened = tokio::select! {
        opened = Engine::open(config) => opened,
        Ask::Stop(signal) = stop_asked(&mut signals) => return Ok(killed_by(signal)),
    };
    let engine = opened.with_context(|| format!("opening the engine's state in {}", roots.data.display()))?;
    info!("Daemon has completed initialization");
    let server = Server::start(Arc::clone(&engine), sockets);
    notify::tell("READY=1");
    // What only a start needs is most of what has run so far.
    if let Err(e) = gantry_linux::program::forget_code() {
        debug!("the code of the start stays mapped: {e}");
    }

    let signal = loop {
        match signals.next().await {
            Ask::Stop(signal) => break signal,
            Ask::Reload => reload(given, personality, level, &engine),
        }
    };
    notify::tell("STOPPING=1");
    info!("Processing signal {signal}: finishing requests; containers keep running");
    let patience = match settings.shutdown_timeout.unwrap_or(15) {
        seconds @ 0.. => Some(Duration::from_secs(seconds.unsigned_abs())),
        _ => None,
    };
    tokio::select! {
        () = finish(server, &engine, patience) => Ok(ExitCode::SUCCESS),
        Ask::Stop(signal) = stop_asked(&mut signals) => {
            warn!("a second signal: leaving at once");
            Ok(killed_by(signal))
        }
    }
}

async fn finish(server: Server, engine: &Arc<Engine>, patience: Option<Duration>) {
    server.drain(patience).await;
    engine.shutdown().await;
    info!("Daemon shutdown complete");
}

/// Waits for SIGTERM or SIGINT and lets reloads pass: there is nothing to reload at that time.
async fn stop_asked(signals: &mut Signals) -> Ask {
    loop {
        if let ask @ Ask::Stop(_) = signals.next().await {
            return ask;
        }
    }
}

/// What a shell would show for a process that the signal ended.
fn killed_by(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

fn default_pidfile(personality: Personality, roots: &Roots) -> PathBuf {
    match (personality, roots.instance.as_str()) {
        // Beside another daemon on the machine, the usual place belongs to that one.
        (Personality::Gantry, instance) if !instance.is_empty() => roots.exec.join("gantry.pid"),
        _ => PathBuf::from(personality.pidfile()),
    }
}

/// SIGHUP: what can change while the daemon runs changes; a file with a mistake changes nothing.
fn reload(given: &Given, personality: Personality, level: &LevelHandle, engine: &Arc<Engine>) {
    let settings = match Settings::load(given, personality) {
        Ok(settings) => settings,
        Err(error) => {
            error!("the configuration was not reloaded: {error:#}");
            return;
        }
    };
    if let Err(error) = level.reload(log::level(&settings)) {
        error!("the log level was not changed: {error}");
    }
    for remark in &settings.remarks {
        if let Remark::Warning(text) = remark {
            warn!("{text}");
        }
    }
    engine.reload(engine_config::reloadable(settings));
    info!("Reloaded configuration: debug, log-level, labels, registries and limits of transfers");
}
