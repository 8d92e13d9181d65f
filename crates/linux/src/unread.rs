//! What the other end of a socket has not read yet.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Whether the peer of a unix stream socket has taken everything that was written to it.
///
/// The kernel announces the peer's reading as writability (an edge, also when the socket was
/// writable before). At that moment it still counts one byte of the message that it is letting go,
/// and any message counts for more than that.
pub fn peer_has_read(socket: impl AsFd) -> io::Result<bool> {
    Ok(out_queue(socket)? <= 1)
}

/// Whether the peer's kernel has acknowledged everything that was written to a TCP socket.
pub fn peer_has_all(socket: impl AsFd) -> io::Result<bool> {
    Ok(out_queue(socket)? == 0)
}

fn out_queue(socket: impl AsFd) -> io::Result<i32> {
    let mut unread: libc::c_int = 0;
    // SAFETY: the descriptor is borrowed for the call, and TIOCOUTQ (SIOCOUTQ) writes one int.
    let result =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ as _, std::ptr::from_mut(&mut unread)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(unread) }
}

#[cfg(test)]
mod tests {
    use super::peer_has_read;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn tells_whether_all_was_read() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert!(peer_has_read(&near).unwrap());
        near.write_all(b"text").unwrap();
        assert!(!peer_has_read(&near).unwrap());
        far.read_exact(&mut [0; 3]).unwrap();
        assert!(!peer_has_read(&near).unwrap());
        far.read_exact(&mut [0; 1]).unwrap();
        assert!(peer_has_read(&near).unwrap());
    }
}
