//! Netlink, the kernel's message protocol for network configuration: links, addresses and routes
//! ([`route`]), firewall ([`nft`]), connection tracking ([`conntrack`]).
//!
//! A [`Batch`] holds any number of requests and goes out in one `sendmsg`; a [`Socket`] matches the answers
//! to the requests. The kernel works requests off inside `sendmsg`, so that when it returns, every answer is
//! waiting in the socket: nothing here waits for the kernel, but for [`unlist_link`], which returns before that.

mod attribute;
mod batch;
pub mod conntrack;
pub mod container;
mod message;
mod monitor;
pub mod namespace;
pub mod nft;
#[cfg(test)]
mod noise;
pub mod route;
mod socket;
mod unlist;

pub use attribute::{Attribute, Attributes};
pub use batch::{Attrs, Batch};
pub use message::{Message, Messages};
pub use monitor::{Heard, Monitor};
pub use socket::{Error, Protocol, Refusal, Socket};
pub use unlist::unlist_link;

/// `NLM_F_REQUEST`: every message to the kernel carries it.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer even if all went well.
pub const ACK: u16 = 0x4;
/// `NLM_F_ECHO`: tell the sender, too, what everybody is told.
pub const ECHO: u16 = 0x8;
/// `NLM_F_DUMP`: list all objects.
pub const DUMP: u16 = 0x300;
/// `NLM_F_EXCL`: fail if the object exists.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: make the object if it does not exist.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: add at the end.
pub const APPEND: u16 = 0x800;

/// Netlink pads everything to four bytes.
const fn align(len: usize) -> usize {
    (len + 3) & !3
}
