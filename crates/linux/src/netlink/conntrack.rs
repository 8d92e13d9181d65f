//! Connection tracking: forgetting flows that would outlive what they were made for.

use super::{ACK, Attributes, Attrs, Batch, DUMP, Error, Message, Socket};
use rustix::io::Errno;
use std::net::IpAddr;

const SUBSYSTEM: u16 = 1;
const GET: u16 = 1;
const DELETE: u16 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;

/// The size of `struct nfgenmsg`.
const NFGEN: usize = 4;
const FAMILIES: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    /// Where its packets are from.
    pub source: IpAddr,
    /// Where they go.
    pub destination: IpAddr,
    /// The port they are from.
    pub source_port: u16,
    /// The port they go to.
    pub destination_port: u16,
}

/// A tracked flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The transport protocol's number.
    pub proto: u8,
    /// The direction of the first packet, as it arrived.
    pub original: Tuple,
    /// The direction of the answers, as they arrive.
    pub reply: Tuple,
}

/// What names a flow to the kernel: its attributes as they came. The id keeps a flow that has meanwhile taken
/// the same addresses and ports from being hit.
struct Name {
    original: Vec<u8>,
    id: Option<Vec<u8>>,
    zone: Option<Vec<u8>>,
}

/// Forgets every flow of a transport protocol that `unwanted` picks, and gives their number.
pub fn forget(socket: &mut Socket, proto: u8, mut unwanted: impl FnMut(&Flow) -> bool) -> Result<usize, Error> {
    let mut forgotten = 0;
    for family in FAMILIES {
        forgotten += forget_of_family(socket, [family, 0, 0, 0], proto, &mut unwanted)?;
    }
    Ok(forgotten)
}

fn forget_of_family(
    socket: &mut Socket,
    header: [u8; NFGEN],
    proto: u8,
    unwanted: &mut impl FnMut(&Flow) -> bool,
) -> Result<usize, Error> {
    /// The answers to one batch must fit into the socket's receive buffer.
    const CHUNK: usize = 64;
    let mut batch = Batch::new();
    batch.message(SUBSYSTEM << 8 | GET, DUMP, &header, |a| only(a, proto));
    let names = socket.dump(&mut batch, |message| {
        let flow = read_flow(message).filter(|f| f.proto == proto)?;
        unwanted(&flow).then(|| read_name(message)).flatten()
    })?;
    for chunk in names.chunks(CHUNK) {
        let mut batch = Batch::new();
        for name in chunk {
            batch.message(SUBSYSTEM << 8 | DELETE, ACK, &header, |a| {
                a.nest(CTA_TUPLE_ORIG, |a| {
                    a.raw(&name.original);
                });
                if let Some(id) = &name.id {
                    a.bytes(CTA_ID, id);
                }
                if let Some(zone) = &name.zone {
                    a.bytes(CTA_ZONE, zone);
                }
            });
        }
        // A flow that ended by itself meanwhile is no failure.
        if let Some(refusal) = socket.exchange(&mut batch)?.into_iter().find(|r| r.errno != Errno::NOENT) {
            return Err(Error::Refused(refusal));
        }
    }
    Ok(names.len())
}

/// Asks the kernel to list only flows of one protocol, which spares a busy host the copying of all others.
/// Kernels before 5.8 do not know the filter and list everything.
fn only(attrs: &mut Attrs<'_>, proto: u8) {
    const CTA_FILTER: u16 = 25;
    const CTA_FILTER_ORIG_FLAGS: u16 = 1;
    const CTA_FILTER_REPLY_FLAGS: u16 = 2;
    const PROTO_NUM: u32 = 1 << 3;
    attrs.nest(CTA_TUPLE_ORIG, |a| {
        a.nest(CTA_TUPLE_PROTO, |a| {
            a.u8(CTA_PROTO_NUM, proto);
        });
    });
    attrs.nest(CTA_FILTER, |a| {
        a.u32(CTA_FILTER_ORIG_FLAGS, PROTO_NUM).u32(CTA_FILTER_REPLY_FLAGS, 0);
    });
}

fn read_flow(message: &Message<'_>) -> Option<Flow> {
    let attrs = message.attributes(NFGEN);
    let (proto, original) = read_tuple(&attrs.get(CTA_TUPLE_ORIG)?.nested())?;
    let (_, reply) = read_tuple(&attrs.get(CTA_TUPLE_REPLY)?.nested())?;
    Some(Flow { proto, original, reply })
}

/// `None` for flows without ports.
fn read_tuple(attrs: &Attributes<'_>) -> Option<(u8, Tuple)> {
    let ip = attrs.get(CTA_TUPLE_IP)?.nested();
    let proto = attrs.get(CTA_TUPLE_PROTO)?.nested();
    let tuple = Tuple {
        source: ip.get(1).or_else(|| ip.get(3))?.ip()?,
        destination: ip.get(2).or_else(|| ip.get(4))?.ip()?,
        source_port: proto.get(2)?.be16()?,
        destination_port: proto.get(3)?.be16()?,
    };
    Some((proto.get(CTA_PROTO_NUM)?.u8()?, tuple))
}

fn read_name(message: &Message<'_>) -> Option<Name> {
    let attrs = message.attributes(NFGEN);
    let copy = |kind| attrs.get(kind).map(|a| a.value.to_vec());
    Some(Name { original: copy(CTA_TUPLE_ORIG)?, id: copy(CTA_ID), zone: copy(CTA_ZONE) })
}

#[cfg(test)]
mod tests {
    use super::super::noise;
    use super::{NFGEN, SUBSYSTEM, read_flow, read_name};

    #[test]
    fn hostile_flows() {
        let mut named = 0;
        noise::messages(SUBSYSTEM << 8, NFGEN, |m| {
            let _ = read_flow(m);
            named += usize::from(read_name(m).is_some());
        });
        assert!(named > 0, "some of the noise looks like flows");
    }
}
