//! Sockets that the service manager opened for us (`fd://`, sd_listen_fds).

use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result, bail};
use rustix::net::{AddressFamily, getsockname};

/// First descriptor of the protocol.
const FIRST: i32 = 3;

/// An inherited listening socket, by its family.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Unix.
    Unix(std::os::unix::net::UnixListener),
    /// TCP.
    Tcp(std::net::TcpListener),
}

/// What was handed over and not taken yet.
#[derive(Debug)]
pub(crate) struct Inherited {
    sockets: Vec<(i32, String, OwnedFd)>,
}

impl Inherited {
    /// Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`. Variables meant for another process
    /// (a wrapper's) count as none.
    pub(crate) fn from_environment() -> Result<Self> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let ours = variable("LISTEN_PID") == std::process::id().to_string();
        let count: i32 = if ours { variable("LISTEN_FDS").parse().unwrap_or(0) } else { 0 };
        let names = variable("LISTEN_FDNAMES");
        let mut names = names.split(':');
        let mut sockets = Vec::new();
        for number in FIRST..FIRST.saturating_add(count) {
            let socket = gantry_linux::inherited::take(number)
                .with_context(|| format!("the service manager's descriptor {number}"))?;
            sockets.push((number, names.next().unwrap_or_default().to_owned(), socket));
        }
        Ok(Self { sockets })
    }

    /// Takes all (`""`, `"*"`), or the one with that number or name.
    pub(crate) fn take(&mut self, which: &str) -> Result<Vec<Socket>> {
        let wanted =
            |number: i32, name: &str| matches!(which, "" | "*") || which == name || which == number.to_string();
        let all = std::mem::take(&mut self.sockets);
        let (taken, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|(number, name, _)| wanted(*number, name));
        self.sockets = left;
        if taken.is_empty() {
            bail!(
                "no sockets found via socket activation (fd://{which}): make sure the service was started by systemd"
            );
        }
        taken.into_iter().map(|(number, _, socket)| listener(number, socket)).collect()
    }
}

fn listener(number: i32, socket: OwnedFd) -> Result<Socket> {
    let address = getsockname(&socket).with_context(|| format!("the inherited descriptor {number} is no socket"))?;
    let socket = match address.address_family() {
        AddressFamily::UNIX => Socket::Unix(socket.into()),
        AddressFamily::INET | AddressFamily::INET6 => Socket::Tcp(socket.into()),
        other => bail!("the inherited descriptor {number} has the address family {other:?}"),
    };
    match &socket {
        Socket::Unix(socket) => socket.set_nonblocking(true)?,
        Socket::Tcp(socket) => socket.set_nonblocking(true)?,
    }
    Ok(socket)
}
