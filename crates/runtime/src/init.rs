//! The built-in init (`--init`): pid 1 that starts the program, passes signals on to it and reaps
//! whatever becomes its child. It ends when the program ends, with the program's status.
//!
//! It is not a program of its own: the process that set the container up stays, with the
//! privileges and the filter that the program has.

use crate::child::{Never, Task, report};
use crate::failure::{OrFail, Result, Stage};
use gantry_linux::process;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::io;

/// Clones the program's process, which runs `execute`, and becomes init.
pub(crate) fn run(task: &mut Task<'_>, uid: u32, execute: &dyn Fn(&Task<'_>) -> Result<Never>) -> Result<Never> {
    // Blocked from before the clone on: a signal that comes early is passed on, not lost.
    process::block_all_signals();
    let program = process::clone_child(0, None, || {
        // A process group of its own, which owns the terminal: what the keyboard sends does not
        // reach the program twice. While signals are still blocked: the new group is in the
        // background until it has the terminal, and who takes that from there gets SIGTTOU and stops.
        let _ = rustix::process::setpgid(None, None);
        let _ = rustix::termios::tcsetpgrp(std::io::stdin(), rustix::process::getpid());
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
