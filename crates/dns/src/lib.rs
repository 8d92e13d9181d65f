//! The name server that containers on user-defined networks have at 127.0.0.11.
//!
//! One [`Server`] serves all containers of a daemon. It knows two things, and the engine tells it both:
//!
//! - *who is called what on which network*: [`Server::place`], whenever a running container has come to a network or
//!   left one, has got another name, or has ended;
//! - *what a container sees*: a [`View`] for each container that is served, by [`Server::serve`] when its network
//!   namespace has been made or found again, and by [`Server::update`] when it is connected or disconnected.
//!
//! Everything else happens here. In the container's namespace there are two sockets on 127.0.0.11 (UDP and TCP, on
//! ports of their own, so that port 53 stays free) and one nftables table that sends packets for 127.0.0.11:53 to them.
//! All of it is made anew by [`Server::serve`], so that a daemon that starts needs to know nothing of its predecessor.
//!
//! What a container asks that is no name of its networks goes on to other servers as the bytes that came, and the
//! answer comes back as the bytes that the server sent; only the id differs.

mod budget;
mod error;
mod forward;
mod listen;
mod message;
mod names;
mod opener;
mod resolve;
mod respond;
mod sandbox;
mod server;
mod tcp;
mod udp;
mod view;

pub use error::{Error, Result};
pub use names::Place;
pub use server::Server;
pub use view::{Attachment, ServerAddress, Upstream, View};

#[doc(hidden)]
pub mod fuzzing;
