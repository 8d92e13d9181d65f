//! What the cloned child does until it becomes the program.

pub(crate) mod label;
pub(crate) mod lookup;
pub(crate) mod network;
pub(crate) mod privileges;
pub(crate) mod procfs;
pub(crate) mod remapped;
pub(crate) mod setup;
pub(crate) mod tail;
pub(crate) mod terminal;
pub(crate) mod user;

use crate::channel::ChildEnd;
use crate::container::StdioFds;
use crate::failure::{Failure, Stage};
use crate::spec::{Plan, ProcessSpec};

/// What a child is cloned with.
pub(crate) struct Task<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) process: &'a ProcessSpec,
    pub(crate) seccomp: &'a [u8],
    pub(crate) stdio: StdioFds,
    pub(crate) channel: ChildEnd,
}

/// A value of this type cannot exist: the program replaces the process before.
pub(crate) enum Never {}

/// Tells the parent why, and what the process ends with (as Docker does: 127, 126).
pub(crate) fn report(channel: &ChildEnd, failure: Failure) -> i32 {
    let status = match failure.stage {
        Stage::NotFound => 127,
        Stage::NotExecutable => 126,
        _ => 1,
    };
    channel.fail(failure);
    status
}
