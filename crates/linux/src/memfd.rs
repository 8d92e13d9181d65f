//! Programs and plans in anonymous memory that nobody can change any more.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// A sealed memfd with `program`, to be executed by descriptor.
///
/// Executed from here, the program is no file that a container could reach and overwrite through
/// `/proc/self/exe` (CVE-2019-5736), and replacing the binary on disk does not disturb it.
pub fn sealed_program(name: &str, program: &[u8]) -> io::Result<OwnedFd> {
    // Kernels since 6.3 want to be told which memfds may be executed; older ones refuse the flag.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = match memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(rustix::io::Errno::INVAL) => memfd_create(name, flags)?,
        made => made?,
    };
    fill_and_seal(memfd, program)
}

/// A sealed memfd with `data`, to be read by another process.
pub fn sealed(name: &str, data: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // As above: since 6.3 a memfd that is not to be executed should say so.
    let memfd = match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(rustix::io::Errno::INVAL) => memfd_create(name, flags)?,
        made => made?,
    };
    fill_and_seal(memfd, data)
}

fn fill_and_seal(memfd: OwnedFd, data: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd);
    file.write_all(data)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    file.rewind()?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_sealed_program_runs_and_does_not_change() {
        let program = std::fs::read("/bin/true").expect("every Linux has /bin/true");
        let memfd = sealed_program("test", &program).expect("memfds work here");
        let path = format!("/proc/self/fd/{}", memfd.as_raw_fd());
        // The child has no such descriptor after exec, but the kernel resolves the path before.
        let status = std::process::Command::new(&path).status().expect("a memfd can be executed");
        assert!(status.success());
        assert!(File::from(memfd).write_all(b"x").is_err());
    }
}
