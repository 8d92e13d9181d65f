//! Further processes in the container, from the request until they are reaped.

use crate::plan::PlanFiles;
use crate::poller::{Interest, Poller, Token, Watched};
use gantry_linux::process::pidfd_kill;
use gantry_runtime::container::{Child, Report, StdioFds};
use gantry_runtime::failure::{Failure, Stage};
use gantry_runtime::spec::ProcessSpec;
use gantry_runtime::{exec, oci, spec};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Who waits for an exec to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) connection: u32,
    pub(crate) request: u32,
}

#[derive(Debug)]
struct Exec {
    id: String,
    process: Process,
}

#[derive(Debug)]
enum Process {
    /// Its set-up is not reported to be over.
    Starting { child: Box<Child>, asker: Asker, terminal: Option<OwnedFd>, _report: Watched, end: Watched },
    /// Another runtime starts it.
    Launching { exec: Box<oci::Exec>, asker: Asker, _report: Watched },
    /// The program runs.
    Running { pid: u32, end: Watched },
    /// The start failed; the child is about to end.
    Failed { end: Watched },
}

/// What became of a start.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) asker: Asker,
    /// The pid and the master of the terminal.
    pub(crate) result: Result<(u32, Option<OwnedFd>), Failure>,
}

/// The init process as `runtime::exec` wants it.
#[derive(Debug)]
pub(crate) struct Init<'a> {
    pub(crate) pid: u32,
    pub(crate) pidfd: BorrowedFd<'a>,
}

/// Every exec that has not ended.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    all: BTreeMap<u32, Exec>,
    next: u32,
}

fn setup(e: &io::Error) -> Failure {
    Failure::os(Stage::Setup, "read the plan of an exec", e)
}

impl Execs {
    /// Clones the process; the outcome comes by [`Execs::report`]. `fds` are the request's.
    pub(crate) fn start(
        &mut self,
        id: String,
        fds: Vec<OwnedFd>,
        asker: Asker,
        files: &PlanFiles,
        init: &Init<'_>,
        poller: &Poller,
    ) -> Result<(), Failure> {
        let (file, stdio) = self.admit(&id, fds)?;
        let process: ProcessSpec =
            crate::plan::read(&file).and_then(|bytes| spec::decode(&bytes)).map_err(|e| setup(&e))?;
        let plan = files.plan().map_err(|e| setup(&e))?;
        let seccomp = if process.seccomp { files.seccomp().map_err(|e| setup(&e))? } else { Vec::new() };
        let child = exec::exec(init.pid, init.pidfd, &plan, &process, &seccomp, stdio)?;
        let pidfd = child.pidfd().try_clone_to_owned();
        self.add(id, child, asker, poller).map_err(|e| {
            if let Ok(pidfd) = pidfd {
                let _ = pidfd_kill(pidfd.as_fd(), libc::SIGKILL);
                let _ = crate::exit::reap(pidfd.as_fd());
            }
            Failure::os(Stage::Setup, "watch an exec", &e)
        })
    }

    /// The same by the runtime that runs the container; the first descriptor is the process as JSON.
    pub(crate) fn start_by_another(
        &mut self,
        id: String,
        fds: Vec<OwnedFd>,
        asker: Asker,
        files: &PlanFiles,
        poller: &Poller,
    ) -> Result<(), Failure> {
        let (process, stdio) = self.admit(&id, fds)?;
        let plan = files.plan().map_err(|e| setup(&e))?;
        let oci = plan.oci.as_ref().ok_or_else(|| setup(&io::ErrorKind::InvalidInput.into()))?;
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let with_pipes = stdio.stdin.is_some().then_some(&stdio);
        let exec = oci::exec(&plan, oci, &process, with_pipes, number)?;
        let watch = || -> io::Result<Watched> {
            let mut report = Watched::new(exec.fd().try_clone_to_owned()?, Token::ExecReport(number));
            report.want(poller, Interest::Read)?;
            Ok(report)
        };
        let report = watch().map_err(|e| Failure::os(Stage::Setup, "watch an exec", &e))?;
        self.all
            .insert(number, Exec { id, process: Process::Launching { exec: Box::new(exec), asker, _report: report } });
        Ok(())
    }

    /// What a request brings along: the process, as the runtime reads it, and the ends of its pipes.
    fn admit(&self, id: &str, fds: Vec<OwnedFd>) -> Result<(File, StdioFds), Failure> {
        if self.knows(id) {
            return Err(Failure::new(Stage::State, format!("exec {id} is running already")));
        }
        let mut fds = fds.into_iter();
        let process = fds.next().map(File::from).ok_or_else(|| setup(&io::ErrorKind::InvalidInput.into()))?;
        Ok((process, StdioFds { stdin: fds.next(), stdout: fds.next(), stderr: fds.next() }))
    }

    /// The other runtime has done its part.
    fn launched(&mut self, number: u32, poller: &Poller) -> Option<Outcome> {
        let Exec { id, process } = self.all.remove(&number)?;
        let Process::Launching { exec, asker, .. } = process else { return None };
        let started = exec.finish().and_then(|started| {
            let mut end = Watched::new(started.pidfd, Token::ExecEnd(number));
            end.want(poller, Interest::Read).map_err(|e| Failure::os(Stage::Setup, "watch an exec", &e))?;
            Ok((started.pid, started.terminal, end))
        });
        if !self.all.values().any(|exec| matches!(exec.process, Process::Launching { .. })) {
            oci::rest();
        }
        let result = started.map(|(pid, terminal, end)| {
            self.all.insert(number, Exec { id, process: Process::Running { pid, end } });
            (pid, terminal)
        });
        Some(Outcome { asker, result })
    }

    fn add(&mut self, id: String, child: Child, asker: Asker, poller: &Poller) -> io::Result<()> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let mut report = Watched::new(child.events_fd().try_clone_to_owned()?, Token::ExecReport(number));
        let mut end = Watched::new(child.pidfd().try_clone_to_owned()?, Token::ExecEnd(number));
        report.want(poller, Interest::Read)?;
        end.want(poller, Interest::Read)?;
        let process = Process::Starting { child: Box::new(child), asker, terminal: None, _report: report, end };
        self.all.insert(number, Exec { id, process });
        Ok(())
    }

    /// Takes a report of a child; the last one is the outcome of its start.
    pub(crate) fn report(&mut self, number: u32, poller: &Poller) -> Option<Outcome> {
        if self.all.get(&number).is_some_and(|exec| matches!(exec.process, Process::Launching { .. })) {
            return self.launched(number, poller);
        }
        let exec = self.all.get_mut(&number)?;
        let Process::Starting { child, asker, terminal, .. } = &mut exec.process else { return None };
        let asker = *asker;
        let result = match child.read_report() {
            Ok(Report::Pty(master)) => {
                *terminal = Some(master);
                return None;
            }
            Ok(Report::Executed) => Ok((child.pid(), terminal.take())),
            Ok(Report::Failed(failure)) => Err(failure),
            Err(e) => Err(Failure::os(Stage::Setup, "read the report of an exec", &e)),
        };
        let pid = child.pid();
        if let Some(exec) = self.all.remove(&number) {
            let process = exec.process.started(result.is_ok().then_some(pid));
            self.all.insert(number, Exec { id: exec.id, process });
        }
        Some(Outcome { asker, result })
    }

    /// A process has ended: reaps it, and tells how it ended if its program had run.
    pub(crate) fn end(&mut self, number: u32) -> Option<(String, u8)> {
        let exec = self.all.remove(&number)?;
        let code = exec.process.pidfd().map_or(Ok(255), crate::exit::reap).unwrap_or(255);
        matches!(exec.process, Process::Running { .. }).then_some((exec.id, code))
    }

    /// The numbers of all of them.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.all.keys().copied().collect()
    }

    /// Whether the set-up of a process is not reported to be over.
    pub(crate) fn is_starting(&self, number: u32) -> bool {
        self.all.get(&number).is_some_and(|e| matches!(e.process, Process::Starting { .. } | Process::Launching { .. }))
    }

    /// A running exec's pidfd.
    pub(crate) fn find(&self, id: &str) -> Option<BorrowedFd<'_>> {
        self.all.values().find(|e| e.id == id).and_then(|e| e.process.pidfd())
    }

    fn knows(&self, id: &str) -> bool {
        self.all.values().any(|e| e.id == id)
    }

    /// (id, pid) of every running exec.
    pub(crate) fn list(&self) -> impl Iterator<Item = (String, u32)> {
        self.all.values().filter_map(|e| match e.process {
            Process::Running { pid, .. } => Some((e.id.clone(), pid)),
            Process::Starting { .. } | Process::Launching { .. } | Process::Failed { .. } => None,
        })
    }
}

impl Process {
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Starting { end, .. } | Self::Running { end, .. } | Self::Failed { end } => Some(end.as_fd()),
            Self::Launching { .. } => None,
        }
    }

    /// After the set-up; `None` if it failed.
    fn started(self, pid: Option<u32>) -> Self {
        match (self, pid) {
            (Self::Starting { end, .. } | Self::Running { end, .. }, Some(pid)) => Self::Running { pid, end },
            (Self::Starting { end, .. } | Self::Running { end, .. }, None) | (Self::Failed { end }, _) => {
                Self::Failed { end }
            }
            (launching @ Self::Launching { .. }, _) => launching,
        }
    }
}
