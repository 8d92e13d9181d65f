//! The built-in init (`--init`): pid 1 that starts the program, passes signals on to it and reaps
//! whatever becomes its child. It ends when the program ends, with the program's status.
//!
//! It is no program of its own: the process that set the container up stays, with the
//! privileges and the filter that the program has. Only for other runtimes, which execute what
//! they are told, is there [`main`]: the shim's program under the name [`NAME`].

use crate::child::{Never, Task, report};
use crate::failure::{OrFail, Result, Stage};
use gantry_linux::process;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Docker's name of it, in the container and among the processes.
pub const NAME: &str = "docker-init";

/// Whether a program was called by this name.
pub fn is_called(name: Option<&OsString>) -> bool {
    name.is_some_and(|name| Path::new(name).file_name().is_some_and(|name| name == NAME))
}

/// `docker-init -- PROGRAM ARGUMENT...`. Never comes back.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ! {
    let program = arguments.find(|argument| argument != "--");
    let Some(program) = program else {
        eprintln!("{NAME}: no program to run");
        std::process::exit(1)
    };
    process::block_all_signals();
    let rest: Vec<OsString> = arguments.collect();
    let child = process::clone_child(0, None, || {
        own_group();
        process::reset_signals();
        let failure = Command::new(&program).args(rest).exec();
        eprintln!("{NAME}: exec {} failed: {failure}", program.display());
        // As shells say it.
        if failure.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
    });
    // The number alone: the descriptor is closed with all others.
    let status = child.map(|child| child.pid).and_then(|pid| {
        close_inherited();
        attend(pid as i32)
    });
    std::process::exit(status.map_or(255, i32::from))
}

/// Clones the program's process, which runs `execute`, and becomes init.
pub(crate) fn run(task: &mut Task<'_>, uid: u32, execute: &dyn Fn(&Task<'_>) -> Result<Never>) -> Result<Never> {
    // Blocked from before the clone on: a signal that comes early is passed on, not lost.
    process::block_all_signals();
    let program = process::clone_child(0, None, || {
        own_group();
        process::reset_signals();
        match execute(task) {
            Ok(never) => match never {},
            Err(failure) => report(&task.channel, failure),
        }
    })
    .or_fail(Stage::Setup, || "start the program under init")?;
    let status = supervise(program.pid as i32, task, uid);
    std::process::exit(i32::from(status.unwrap_or(255)));
}

/// Leaves everything to the program and waits for its end.
fn supervise(program: i32, task: &mut Task<'_>, uid: u32) -> io::Result<u8> {
    // The parent takes the end of the channel for the exec's success: only the program may hold it.
    task.channel.close();
    let _ = rustix::process::set_parent_process_death_signal(None);
    let _ = rustix::thread::set_name(c"docker-init");
    // Only for who looks at the processes: under another name nothing works less.
    let _ = process::set_command_line("/sbin/docker-init --");
    if uid != 0 {
        // An exec would have taken an ordinary user's capabilities away.
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    }
    close_inherited();
    attend(program)
}

/// A process group of its own, which owns the terminal: what the keyboard sends does not reach the program twice. While
/// signals are still blocked: the new group is in the background until it has the terminal, and who takes that from
/// there gets SIGTTOU and stops.
fn own_group() {
    let _ = rustix::process::setpgid(None, None);
    let _ = rustix::termios::tcsetpgrp(std::io::stdin(), rustix::process::getpid());
}

/// Passes signals on and reaps until the program has ended.
fn attend(program: i32) -> io::Result<u8> {
    loop {
        let signal = process::wait_signal()?;
        if signal == libc::SIGCHLD {
            if let Some(status) = reap(program)? {
                return Ok(status);
            }
            continue;
        }
        // Terminal stops are between the program and its terminal.
        if !matches!(signal, libc::SIGTTIN | libc::SIGTTOU | libc::SIGTSTP) {
            let _ = process::kill(program, signal);
        }
    }
}

/// Reaps all that ended; the program's status if it is among them.
fn reap(program: i32) -> io::Result<Option<u8>> {
    while let Some((pid, status)) = process::reap_any()? {
        if pid == program {
            return Ok(Some(status));
        }
    }
    Ok(None)
}

/// Nothing but the standard descriptors: a pipe's end held here would never see its end of file.
fn close_inherited() {
    let _ = process::close_from(3);
}
