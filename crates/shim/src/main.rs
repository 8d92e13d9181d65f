//! The parent of one container: its stdio, its log, its exit status, its execs.
//!
//! The daemon spawns a shim with the descriptors of [`gantry_shim_protocol::spawn_fd`] and talks to
//! it over its control socket. Neither needs the other to stay alive: the daemon may die at any
//! moment, and the next one connects again. A shim never waits for the daemon (its socket and its
//! log are non-blocking), except that a container's set-up waits for its network; if no daemon is
//! connected for a minute then, the container is given up.
//!
//! A shim has one thread, so that cloning into namespaces is safe, and as little memory as can be:
//! there is one for every container.
//!
//! It is no subreaper: orphans in the container belong to its init process, and those of a
//! container in the host's pid namespace to the host's. It stays in the daemon's cgroup, so a
//! service manager must kill only the daemon's main process (`KillMode=process`). A shim that is
//! killed leaves its container running without anybody to read its output; the daemon, which sees
//! the socket close without an exit file, kills the container's cgroup.

mod clients;
mod compressor;
mod connections;
mod diagnostics;
mod execs;
mod exit;
mod farewell;
mod feed;
mod forwarding;
mod log;
mod plan;
mod poller;
mod requests;
mod scratch;
mod shim;
mod stdio;

use crate::clients::Clients;
use crate::connections::Connections;
use crate::farewell::{Ending, Farewell};
use crate::plan::PlanFiles;
use crate::poller::Poller;
use crate::shim::Shim;
use gantry_linux::{inherited, process, signals};
use gantry_runtime::failure::{Failure, Stage};
use gantry_runtime::{init, user_namespace};
use gantry_shim_protocol::spawn_fd;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::rc::Rc;

fn main() -> ExitCode {
    if std::env::args_os().next().is_some_and(|name| name == user_namespace::NAME) {
        user_namespace::hold();
        return ExitCode::SUCCESS;
    }
    if init::is_called(std::env::args_os().next().as_ref()) {
        init::main(std::env::args_os().skip(1));
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // A container may have this program executed (`/proc/self/exe` as its own program, CVE-2019-5736's
        // other half). Without a daemon's descriptors it does nothing and says nothing.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::BADF.raw_os_error()) => ExitCode::FAILURE,
        Err(e) => {
            diagnostics::say(&format!("cannot run: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    let listener = inherited::take(spawn_fd::LISTENER)?;
    let files =
        PlanFiles::new(File::from(inherited::take(spawn_fd::PLAN)?), File::from(inherited::take(spawn_fd::SECCOMP)?));
    // A log feed, and reserved host ports, which are the container's as long as it runs.
    let mut held: Vec<_> = (spawn_fd::FIRST_HELD..).map_while(|number| inherited::take(number).ok()).collect();
    // Nothing stays open beyond this process.
    process::close_on_exec_from(spawn_fd::LISTENER)?;
    // Ignored by the parent, and inherited, it would have the kernel reap our children.
    signals::default(libc::SIGCHLD)?;
    signals::ignore(&[libc::SIGPIPE, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM])?;
    rustix::thread::set_name(c"gantry-shim")?;
    // The daemon's working directory is not kept busy.
    rustix::process::chdir("/")?;

    let poller = Rc::new(Poller::new()?);
    let connections = Connections::new(listener, &poller)?;
    let farewell = match start(&files, &mut held, &poller) {
        Ok((plan, created)) => {
            let shim = Shim::new(&plan, files, poller, connections, created);
            drop(plan);
            shim.run()
        }
        Err(failure) => {
            let ending = Ending::NotStarted(requests::failure(failure));
            Farewell { poller, connections, clients: Clients::default(), ending }
        }
    };
    // Before anybody hears of the end: whoever starts the container again at once publishes the same ports.
    drop(held);
    farewell.run();
    Ok(())
}

fn start(
    files: &PlanFiles,
    held: &mut Vec<OwnedFd>,
    poller: &Rc<Poller>,
) -> Result<(gantry_runtime::spec::Plan, shim::Created), Failure> {
    let plan = files.plan().map_err(|e| Failure::os(Stage::Setup, "read the plan", &e))?;
    let created = shim::create(&plan, files, held, poller)?;
    if plan.oom_score_adj.is_some() {
        protect_from_oom_killer();
    }
    Ok((plan, created))
}

/// As long as containers have a score of their own, and do not inherit this one. Without
/// `CAP_SYS_RESOURCE` it stays as it is.
fn protect_from_oom_killer() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "-999");
}
