//! What one container sees.

use gantry_model::Id;
use std::net::SocketAddr;

/// What a container sees: its networks, and where questions go that are not about them.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Its networks, in the order in which they are asked. The first that knows a name answers.
    pub attachments: Vec<Attachment>,
    /// Where everything else goes.
    pub upstream: Upstream,
}

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The network.
    pub network: Id,
    /// Links: an alias that this container alone knows, and the name on that network that it stands for.
    pub links: Vec<(String, String)>,
}

/// Where questions go that are about no name of the container's networks.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// The servers, in order of preference. Those beyond the third are not asked, as in resolv.conf(5).
    pub servers: Vec<ServerAddress>,
    /// Whether the container may ask them at all: not if all of its networks are internal.
    pub forward: bool,
    /// Whether its `resolv.conf` says `ndots` with more than 0. Then a name without a dot is tried with the search
    /// domains by the container itself, and not forwarded.
    pub ndots: bool,
}

/// A server that questions are forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerAddress {
    /// Its address and port; an IPv6 one may have a zone.
    pub address: SocketAddr,
    /// Whether it is the host's, to be reached as from the host, or one that the container was given, to be reached
    /// as the container reaches it.
    pub from_host: bool,
}
