//! What a starting daemon does about whatever its predecessor left: every verb may have been cut
//! short at any instruction.
//!
//! The truth about a run is its shim. In this order:
//! 1. trash is emptied, files of containers without a record are swept;
//! 2. each container's run is looked at: a shim that answers is adopted; an exit file is the end that
//!    happened meanwhile; anything else is a run that was lost, and nothing of it may live on;
//! 3. the network takes back what lives and drops the rest;
//! 4. ends are made known: restart policies, automatic removal.

use crate::container::{Container, Record};
use crate::engine::CONTAINERS;
use crate::networks::members::Attached;
use crate::networks::restore::agreed;
use crate::restart_policy;
use crate::shim::{Incoming, ShimLink, ShimReader, supervise};
use crate::start::RunFile;
use crate::{Engine, RemoveOptions};
use futures_util::{StreamExt, stream};
use gantry_image_store::ImageId;
use gantry_model::digest::Digest;
use gantry_model::{ContainerStatus, Error, Id, Result, Timestamp};
use gantry_shim_protocol::{Answer, Exit, Phase, RequestBody, Target, transport};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Shims that are asked at a time.
const LOOKS: usize = 32;
/// A shim answers in microseconds, on a machine that is busy with a hundred of them in milliseconds.
const ANSWER: Duration = Duration::from_secs(5);

/// What the look at a container's run found.
enum Found {
    /// Its shim answers and its process runs.
    Running { link: Arc<ShimLink>, reader: ShimReader, pid: u32, started_at: i64, run: Option<Box<RunFile>> },
    /// It ended while no daemon was there.
    Ended(Exit),
    /// There was no run.
    Nothing,
}

/// Brings records and world together.
pub(crate) async fn run(engine: &Arc<Engine>) -> Result<()> {
    let records = engine.db.load(CONTAINERS)?;
    let known: HashSet<String> = records.iter().map(|(key, _)| key.clone()).collect();
    sweep(engine, &known).await;
    let mut live = Vec::new();
    let mut unfinished = Vec::new();
    let mut found = Vec::new();
    let mut ended = Vec::new();
    let containers: Vec<_> = records.into_iter().map(|(_, record)| Arc::new(Container::new(record))).collect();
    for container in &containers {
        restore_definition(engine, container);
    }
    // Side by side: one shim that does not answer must not keep the others waiting.
    let looks = containers.into_iter().map(|container| async move {
        let found = look(engine, &container).await;
        (container, found)
    });
    for (container, what) in stream::iter(looks).buffered(LOOKS).collect::<Vec<_>>().await {
        match what {
            Found::Running { link, reader, pid, started_at, run } => {
                if adopt(engine, &container, pid, started_at, run) {
                    unfinished.push(container.clone());
                }
                live.push(container.read().attached.attachment());
                readopt_volumes(engine, &container);
                container.set_shim(Some(link.clone()));
                found.push((container, link, reader));
            }
            Found::Ended(exit) => ended.push((container, Some(exit))),
            Found::Nothing => ended.push((container, None)),
        }
    }
    tokio::task::block_in_place(|| engine.settle_fills_of_directories());
    let network = engine.network.clone();
    tokio::task::block_in_place(|| network.restore(&engine.networks.specs(), &live))?;
    engine.replay_addresses().await;
    engine.finish_memberships(unfinished).await;
    tokio::task::block_in_place(|| found.iter().for_each(|(container, ..)| engine.reopen_links(container)));
    engine.resume_names(found.iter().map(|(container, ..)| container.clone()).collect()).await;
    // Not before: what ends now gives its addresses back, which the network must know by then.
    for (container, link, reader) in found {
        let probe = engine.recall_health(&container);
        tokio::spawn(supervise(engine.clone(), container.clone(), link, reader, None));
        let engine = engine.clone();
        tokio::spawn(async move {
            {
                // A connect or disconnect may have been cut short before the shim heard of it.
                let _verb = container.verbs.lock().await;
                engine.forwards_have_moved(&container).await;
            }
            engine.resume_health(&container, probe).await;
        });
    }
    engine.images.drop_unheld()?;
    for (container, exit) in ended {
        resume(engine, &container, exit).await;
    }
    end_builds(engine);
    Ok(())
}

/// Removes the containers of builds, which ended with the daemon that ran them.
fn end_builds(engine: &Arc<Engine>) {
    for container in engine.containers.all().into_iter().filter(|container| container.read().build) {
        let engine = engine.clone();
        tokio::spawn(async move {
            let options = RemoveOptions { force: true, volumes: true, link: false };
            if let Err(e) = engine.container_remove(&container.id.to_string(), options).await {
                tracing::warn!("container {} of a build: {e}", container.id);
            }
        });
    }
}

fn restore_definition(engine: &Engine, container: &Arc<Container>) {
    let (id, name, image) = {
        let mut record = container.write();
        record.attached = Attached::default();
        (record.id, record.name.clone(), record.image.clone())
    };
    if let Err(e) = engine.containers.reserve_name(&name, id) {
        tracing::error!("container {id}: {e}");
    }
    engine.containers.insert(container.clone());
    // By id and not by name: the image may have been removed from under the container.
    let parsed = image.parse::<Digest>().map_err(|e| Error::internal(e.to_string()));
    let held = parsed.and_then(|digest| {
        let image = ImageId::new(digest);
        engine.images.hold_layers(id, &image)?;
        engine.images.rootfs_of(&image)
    });
    match held {
        // Where layers lie is the store's business: it may have moved them since the container was made.
        Ok(layers) => container.write().layers = layers,
        Err(e) => tracing::warn!("container {id}: {e}"),
    }
    engine.hold_mounted_images(container);
}

/// Looks for the container's shim.
async fn look(engine: &Arc<Engine>, container: &Arc<Container>) -> Found {
    let dirs = engine.dirs(&container.id);
    if let Ok(socket) = transport::connect(&dirs.socket())
        && let Ok((link, reader)) = ShimLink::new(socket)
        && let Some(found) = ask(engine, container, link, reader).await
    {
        return found;
    }
    let (was_live, known_end) = {
        let record = container.read();
        (record.state.status.is_live(), record.state.finished_at)
    };
    if !was_live && !dirs.exec().exists() {
        return Found::Nothing;
    }
    let exit = engine.reap_lost_run(container).await;
    if !was_live && known_end == Timestamp::from_unix_nanos(exit.finished_at.into()) {
        // The predecessor recorded this end and died before it removed the run's files.
        return Found::Nothing;
    }
    // A start that was cut short before its program ran is no run.
    if was_live || dirs.exit_file().exists() { Found::Ended(exit) } else { Found::Nothing }
}

/// Asks a shim what it is doing. `None` when it is gone after all.
async fn ask(
    engine: &Arc<Engine>,
    container: &Arc<Container>,
    link: Arc<ShimLink>,
    mut reader: ShimReader,
) -> Option<Found> {
    let answered = tokio::time::timeout(ANSWER, async {
        let question = link.request(RequestBody::Status, &[]);
        tokio::pin!(question);
        // Answers are delivered by the reader, so both run.
        loop {
            tokio::select! {
                answer = &mut question => break answer.ok(),
                incoming = reader.next() => if let Incoming::Closed = incoming { break None },
            }
        }
    });
    let Ok(answer) = answered.await else { return Some(silent(engine, container, link, reader)) };
    let Some((Answer::Status(status), _)) = answer else { return None };
    match status.phase {
        Phase::Running { pid, started_at } => {
            let run = run_file(engine, container);
            Some(Found::Running { link, reader, pid, started_at, run })
        }
        Phase::Exited(exit) => Some(Found::Ended(exit)),
        Phase::Setup { .. } => {
            // Nobody is left who could answer the client; the start never happened.
            end_shim(&link, &mut reader).await;
            None
        }
    }
}

/// A shim that hangs, in a log on a file system that is gone, say. What runs is taken over as the record knows it; the
/// shim says the rest when it comes back. One that was still setting its container up gives that up by itself.
fn silent(engine: &Engine, container: &Container, link: Arc<ShimLink>, reader: ShimReader) -> Found {
    tracing::error!("container {}: its shim does not answer", container.id);
    let (live, pid, time, started_at) = {
        let state = &container.read().state;
        (state.status.is_live(), state.pid, state.pid_start_time, state.started_at)
    };
    if !live || crate::procfs::start_time(pid) != Some(time) {
        return Found::Nothing;
    }
    let started_at = started_at.unix_nanos().and_then(|nanos| i64::try_from(nanos).ok()).unwrap_or_default();
    Found::Running { link, reader, pid, started_at, run: run_file(engine, container) }
}

fn run_file(engine: &Engine, container: &Container) -> Option<Box<RunFile>> {
    let bytes = std::fs::read(engine.dirs(&container.id).run_file()).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Kills a shim's container and waits until the shim is gone, too.
async fn end_shim(link: &ShimLink, reader: &mut ShimReader) {
    let kill = RequestBody::Signal { target: Target::Init, signal: gantry_model::signal::SIGKILL };
    let killed = link.perform(kill, &[]);
    tokio::pin!(killed);
    let mut asked = false;
    loop {
        tokio::select! {
            _ = &mut killed, if !asked => asked = true,
            incoming = reader.next() => if let Incoming::Closed = incoming { return },
        }
    }
}

/// Takes over a running container; whether its namespace may have other networks than its record.
fn adopt(engine: &Engine, container: &Container, pid: u32, started_at: i64, run: Option<Box<RunFile>>) -> bool {
    let differs = {
        let mut record = container.write();
        let mut differs = false;
        if let Some(run) = run {
            (record.attached, differs) = agreed(engine, &record, run.attached);
            record.state.restart_count = run.restart_count;
        }
        let paused = record.state.status == ContainerStatus::Paused;
        if !paused {
            record.state.status = ContainerStatus::Running;
            // A pause that was cut short is undone, so that the freezer and the record agree.
            if let Err(e) = engine.cgroups.cgroup(&engine.record_cgroup_path(&record)).thaw() {
                tracing::warn!("container {}: {e}", container.id);
            }
        }
        record.state.pid = pid;
        record.state.pid_start_time = crate::procfs::start_time(pid).unwrap_or(0);
        record.state.started_at = Timestamp::from_unix_nanos(started_at.into());
        record.state.error.clear();
        differs
    };
    container.progress.send_modify(|p| p.live = true);
    engine.store_lazily(container, || ());
    differs
}

/// Its volumes are in use, and what is mounted for it is held by its shim.
fn readopt_volumes(engine: &Engine, container: &Container) {
    let shim = gantry_runtime::spawn::find_shim(&engine.dirs(&container.id).pid_file());
    let record = container.read().clone();
    engine.readopt_volumes(&record, shim.ok().flatten().map(|shim| shim.pid));
}

/// Makes an end known that happened meanwhile, or resumes a restart that was pending.
async fn resume(engine: &Arc<Engine>, container: &Arc<Container>, exit: Option<Exit>) {
    if let Some(run) = run_file(engine, container) {
        engine.leave_plugins_of(run.attached).await;
    }
    if let Some(exit) = exit {
        {
            let mut record = container.write();
            record.state.started_at = Timestamp::from_unix_nanos(exit.started_at.into());
        }
        return engine.run_ended(container, exit).await;
    }
    if engine.dirs(&container.id).exec().exists() {
        // A start that was cut short, or an end of which the last part is missing.
        engine.unmount_volumes(container).await;
    }
    engine.clear_run(container, 0);
    let resumed = {
        let mut record = container.write();
        let pending = record.state.status == ContainerStatus::Restarting;
        if matches!(record.state.status, ContainerStatus::Removing) {
            record.state.status = ContainerStatus::Dead;
        }
        if pending && !restart_policy::has_policy(&record) {
            record.state.status = ContainerStatus::Exited;
        }
        // After a reboot `always` means always, even for what a client had stopped.
        let boot = starts_with_daemon(&record);
        if boot {
            record.state.status = ContainerStatus::Restarting;
            record.state.manually_stopped = false;
        }
        pending || boot
    };
    if resumed {
        container.progress.send_modify(|p| p.restarts = true);
        engine.schedule_restart(container, Duration::ZERO);
    } else if container.read().state.status != ContainerStatus::Created {
        engine.auto_remove(container);
    }
}

/// Docker starts stopped `always` containers with the daemon, others only if they ran.
fn starts_with_daemon(record: &Record) -> bool {
    let always = record.host_config.restart_policy.name == "always";
    always && record.state.status == ContainerStatus::Exited
}

/// Removes what belongs to no container.
async fn sweep(engine: &Engine, known: &HashSet<String>) {
    for entry in entries(&engine.config.data_root.join("trash")) {
        remove(&entry);
    }
    crate::build::sweep(&engine.config.data_root);
    for entry in entries(&engine.config.data_root.join("containers")) {
        if !is_known(&entry, known) {
            remove(&entry);
        }
    }
    for entry in entries(&engine.config.exec_root.join("containers")) {
        if is_known(&entry, known) {
            continue;
        }
        kill_stray(engine, &entry).await;
        remove(&entry);
    }
}

/// A run of a container whose removal was durable before its process was gone.
async fn kill_stray(engine: &Engine, dir: &Path) {
    let Some(id) = dir.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<Id>().ok()) else { return };
    if let Ok(socket) = transport::connect(&dir.join("shim.sock"))
        && let Ok((link, mut reader)) = ShimLink::new(socket)
    {
        end_shim(&link, &mut reader).await;
    }
    let cgroup = engine.cgroups.cgroup(&engine.default_cgroup_path(&id));
    if let Err(e) = cgroup.end() {
        tracing::warn!("cgroup of {id}: {e}");
    }
}

fn entries(dir: &Path) -> Vec<std::path::PathBuf> {
    let read = std::fs::read_dir(dir).into_iter().flatten();
    read.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn is_known(path: &Path, known: &HashSet<String>) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| known.contains(n))
}

fn remove(path: &Path) {
    if let Err(e) = std::fs::remove_dir_all(path) {
        tracing::warn!("{}: {e}", path.display());
    }
}
