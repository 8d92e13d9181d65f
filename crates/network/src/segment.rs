//! How much TCP hands to a link in one piece ("BIG TCP", kernel 6.3).
//!
//! What goes from one process of this host to another is never cut into the wire's packets; it goes through the stacks,
//! the firewall and the bridge in pieces of 64 kB, and what each piece costs on its way is more than its copies. Pieces
//! of four times that size are faster by a third (ARCHITECTURE.md has the measurement).
//!
//! A piece is as big as the link allows by which its *sender* sends. Where it comes to a link that takes less, the kernel
//! cuts it into packets of the wire's size at once, and hardware that could have cut 64 kB does nothing. So links
//! are told only whose senders' pieces stay here: bridges, the host's ends of pairs, and the loopback interface, by which
//! the host itself sends; and containers' ends only on internal networks, from which nothing leads out.

use crate::bridge::Bridge;
use gantry_linux::netlink::route;
use gantry_linux::netlink::{Batch, Socket};

/// Bytes. More gave nothing more.
const LARGE: u32 = 256 << 10;

/// For links whose sender's pieces may leave the host.
const KERNELS_CHOICE: u32 = 0;

/// What the kernel gives every link.
const DEFAULT: u32 = 64 << 10;

/// Who reads the packets that come to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stack {
    /// This kernel.
    Kernel,
    /// Perhaps the runtime by itself, as gVisor does, with buffers for 64 kB and not a byte more.
    Runtime,
}

/// What the host's end of a container's pair takes, and what the container's.
pub(crate) fn of_pair(stack: Stack, internal: bool) -> [u32; 2] {
    match (stack, internal) {
        (Stack::Runtime, _) => [KERNELS_CHOICE; 2],
        (Stack::Kernel, false) => [LARGE, KERNELS_CHOICE],
        (Stack::Kernel, true) => [LARGE; 2],
    }
}

/// Large pieces for what the host sends to a bridge's containers. A bridge takes them once it has ports that do.
pub(crate) fn enlarge_bridge(socket: &mut Socket, bridge: &Bridge) {
    if bridge.owned {
        enlarge(socket, bridge.index, &bridge.name);
    }
}

/// Large pieces for what the host sends to its own addresses, those of published ports among them. A size that somebody
/// has chosen stays. Only speed depends on it.
pub(crate) fn enlarge_loopback(socket: &mut Socket) {
    let link = match route::link_by_name(socket, "lo") {
        Ok(Some(link)) if link.segment == Some(DEFAULT) => link,
        Ok(_) => return,
        Err(e) => return tracing::debug!("look for the loopback interface: {e}"),
    };
    enlarge(socket, link.index, &link.name);
}

fn enlarge(socket: &mut Socket, index: u32, name: &str) {
    let mut batch = Batch::new();
    route::set_segment(&mut batch, index, LARGE);
    // A kernel before 6.3, or a wire that somebody has plugged into the bridge.
    if let Err(e) = socket.transact(&mut batch) {
        tracing::debug!("{name} keeps to pieces of 64 kB: {e}");
    }
}
