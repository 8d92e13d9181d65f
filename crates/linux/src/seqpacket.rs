//! `SOCK_SEQPACKET` unix sockets: a message is a packet, and descriptors travel with it.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Most descriptors in one packet. The kernel's own limit (`SCM_MAX_FD`) is 253.
pub const MAX_FDS: usize = 8;

/// Bytes of control data that [`MAX_FDS`] descriptors need.
const CONTROL_LEN: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

/// A packet that was received.
#[derive(Debug)]
pub struct Packet {
    /// Bytes at the start of the caller's buffer; 0 is the end of the connection.
    pub len: usize,
    /// Descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Descriptors were lost: there were more than [`MAX_FDS`], or this process may not have more open.
    pub fds_lost: bool,
}

/// Who is at the other end, as the kernel recorded it at `connect` (or `listen`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Process id in the caller's pid namespace, 0 when it is not visible there.
    pub pid: u32,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
}

/// A non-blocking, close-on-exec socket that listens at `path` with mode 0600. `path` must not exist.
pub fn listen(path: &Path, backlog: i32) -> io::Result<OwnedFd> {
    let socket = socket()?;
    // bind() gives the new inode the socket's own mode (minus umask), so that at no moment anybody
    // else may connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    with_address(path, |address| rustix::net::bind(&socket, address))?;
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

/// A non-blocking, close-on-exec connection to the socket at `path`.
///
/// A listener whose backlog is full answers `WouldBlock`.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket()?;
    with_address(path, |address| rustix::net::connect(&socket, address))?;
    Ok(socket)
}

/// The next waiting connection, non-blocking and close-on-exec.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}

/// A connected pair of non-blocking sockets.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}

/// Sends one packet; all of it or nothing. Never raises `SIGPIPE`.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let refused = fds.len() > MAX_FDS || !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds));
    if refused {
        return Err(Errno::INVAL.into());
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags))?;
    Ok(())
}

/// Receives one packet. One that is longer than `buf` is `EMSGSIZE` and lost.
pub fn recv(socket: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Packet> {
    let mut space = [MaybeUninit::uninit(); CONTROL_LEN];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut receive =
        || rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buf)], &mut control, flags));
    let received = match receive() {
        // The peer closed with something unread. What it had sent before is still in the queue.
        Err(Errno::CONNRESET) => receive()?,
        other => other?,
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE.into());
    }
    Ok(Packet { len: received.bytes, fds, fds_lost: received.flags.contains(ReturnFlags::CTRUNC) })
}

/// Who is at the other end of a connected unix socket.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let credentials = rustix::net::sockopt::socket_peercred(socket)?;
    Ok(PeerCredentials {
        pid: credentials.pid.as_raw_nonzero().get().unsigned_abs(),
        uid: credentials.uid.as_raw(),
        gid: credentials.gid.as_raw(),
    })
}

/// The caller's effective user.
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Calls `f` with an address for `path`. `sun_path` holds 108 bytes; a longer path goes through a
/// descriptor of its directory.
fn with_address<T>(path: &Path, f: impl FnOnce(&SocketAddrUnix) -> Result<T, Errno>) -> io::Result<T> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return Ok(f(&address)?);
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::NAMETOOLONG.into());
    };
    let dir = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(dir.as_fd().as_raw_fd().to_string()).join(name);
    let address = SocketAddrUnix::new(&short)?;
    Ok(f(&address)?)
}
