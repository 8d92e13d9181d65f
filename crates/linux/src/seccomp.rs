//! Loading a seccomp filter.

use std::io;

/// Size of a `struct sock_filter`.
const INSTRUCTION: usize = 8;

/// Installs a filter, given as the bytes of `struct sock_filter[]` in this machine's order, for the
/// calling process. Needs `no_new_privs` or `CAP_SYS_ADMIN`.
pub fn load(program: &[u8]) -> io::Result<()> {
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    if program.is_empty() || !program.len().is_multiple_of(INSTRUCTION) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let len = u16::try_from(program.len() / INSTRUCTION).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    // The kernel copies the instructions bytewise, so their alignment here does not matter.
    let fprog = libc::sock_fprog { len, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `fprog` describes `program`, which outlives the call and is only read.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&fprog)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_torn_program_is_refused() {
        assert_eq!(super::load(&[]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(super::load(&[0; 9]).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
