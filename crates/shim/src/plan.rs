//! The memfds that the daemon handed over. They are decoded when needed and not kept: a plan is
//! larger than all else that a shim remembers.

use gantry_runtime::spec::{self, Plan};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A plan or filter that is larger than this is a mistake.
const MAX_SIZE: u64 = 16 << 20;

/// The container's plan and its compiled seccomp filter.
#[derive(Debug)]
pub(crate) struct PlanFiles {
    plan: File,
    seccomp: File,
}

impl PlanFiles {
    pub(crate) fn new(plan: File, seccomp: File) -> Self {
        Self { plan, seccomp }
    }

    pub(crate) fn plan(&self) -> io::Result<Plan> {
        spec::decode(&read(&self.plan)?)
    }

    pub(crate) fn seccomp(&self) -> io::Result<Vec<u8>> {
        read(&self.seccomp)
    }
}

/// All of a memfd, wherever its offset is.
pub(crate) fn read(file: &File) -> io::Result<Vec<u8>> {
    let size = file.metadata()?.len();
    if size > MAX_SIZE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}
