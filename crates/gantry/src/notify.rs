//! sd_notify: one datagram to the socket that the service manager names.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager, if there is one. That nobody listens is no reason to fail.
pub(crate) fn tell(state: &str) {
    if let Err(error) = send(state) {
        tracing::warn!(%error, "the service manager could not be told {state:?}");
    }
}

fn send(state: &str) -> std::io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}
