//! A umask for one thread.

use rustix::{
    fs::Mode,
    io,
    process::umask,
    thread::{UnshareFlags, unshare_unsafe},
};

/// Takes the calling thread's umask, working directory and root out of the process's common ones, and sets the umask
/// to zero: files then get exactly the modes they are created with. For threads of one's own; it cannot be undone.
pub fn take_private_umask() -> io::Result<()> {
    // SAFETY: CLONE_FS leaves descriptors alone, which are what unshare could make dangle; relative paths and the
    // umask of the other threads stay as they are.
    unsafe { unshare_unsafe(UnshareFlags::FS) }?;
    umask(Mode::empty());
    Ok(())
}
