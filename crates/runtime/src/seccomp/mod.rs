//! The seccomp compiler: Docker's profiles for x86_64, i386 and x32, without libseccomp.
//!
//! A filter depends on the profile and the container's capabilities only, so compiled ones are kept.

mod carrier;
mod compile;
mod default;
mod oci;
mod only;
mod profile;
mod syscalls;
#[cfg(test)]
mod tests;

pub use carrier::carrier;
pub use oci::oci;
pub use only::{Call, only};
pub use profile::ProfileError;

use profile::{Host, Profile};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Filters that are kept. A daemon sees few combinations; a client that makes up profiles must not
/// make it grow.
const CACHE: usize = 16;

struct Entry {
    /// `None` is the default profile.
    json: Option<Box<str>>,
    capabilities: u64,
    filter: Arc<[u8]>,
}

static KEPT: Mutex<VecDeque<Entry>> = Mutex::new(VecDeque::new());

/// The filter (`struct sock_filter[]`) of a profile in Docker's JSON, by default Docker's own, for a
/// container with this bounding set. Empty if the profile asks for no filter.
pub fn compile(json: Option<&str>, capabilities: u64) -> Result<Arc<[u8]>, ProfileError> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |e: &Entry| e.capabilities == capabilities && e.json.as_deref() == json;
    if let Some(at) = kept.iter().position(same) {
        return Ok(kept[at].filter.clone());
    }
    let host = Host::this(capabilities);
    let filter: Arc<[u8]> = match json {
        Some(json) => match profile::parse(json, &host)? {
            Some(profile) => encode(&profile)?,
            None => Vec::new(),
        },
        None => encode(&default::profile(&host))?,
    }
    .into();
    kept.truncate(CACHE - 1);
    kept.push_front(Entry { json: json.map(Into::into), capabilities, filter: filter.clone() });
    Ok(filter)
}

/// The program's bytes in this machine's order.
fn encode(profile: &Profile) -> Result<Vec<u8>, ProfileError> {
    const BPF_MAXINSNS: usize = 4096;
    let program = compile::compile(profile);
    if program.len() > BPF_MAXINSNS {
        return Err(ProfileError(format!("the seccomp profile is too large ({} instructions)", program.len())));
    }
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for instruction in program {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    Ok(bytes)
}
