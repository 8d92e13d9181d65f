//! What is done about a message, whichever way it came.

use crate::message::{Answer, CLASS_IN, Query, Rcode, Record, Unfit, address_of, refuse, rtype};
use crate::resolve::{self, Family, Found};
use crate::sandbox::{Sandbox, Sight};
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

/// What is to be done.
pub(crate) enum Response {
    /// Nothing.
    Silence,
    /// The answer is in the buffer.
    Ready,
    /// Others have to be asked; the question ends there.
    Forward(Arc<Sight>, Question),
}

/// What forwarding has to know of a query beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// Where the question ends.
    pub(crate) end: usize,
    /// The largest answer that the client takes.
    pub(crate) limit: usize,
}

/// Answers the message in `bytes` into `out`, with at most `limit` bytes; `None` leaves the size to the client's word.
pub(crate) fn respond(sandbox: &Sandbox, bytes: &[u8], limit: Option<usize>, out: &mut Vec<u8>) -> Response {
    let query = match Query::read(bytes) {
        Ok(query) => query,
        Err(Unfit::Ignored) => return Response::Silence,
        Err(Unfit::Malformed) => return refused(bytes, Rcode::FormatError, out),
        Err(Unfit::NotAQuestion) => return refused(bytes, Rcode::NotImplemented, out),
    };
    let limit = limit.unwrap_or_else(|| query.largest_datagram());
    let sight = sandbox.sight();
    let known = look_up(sandbox, &sight, &query);
    let rcode = match known {
        Known::Unknown if !sight.view.upstream.forward => Rcode::NameError,
        Known::Unknown if !is_for_search_domains(&sight, &query) => {
            return Response::Forward(sight, Question { end: query.question_end, limit });
        }
        _ => Rcode::NoError,
    };
    let mut answer = Answer::new(bytes, &query, rcode, limit, out);
    match &known {
        Known::Addresses(addresses) => add_addresses(&mut answer, addresses),
        Known::Name(name) => {
            answer.add(Record::Ptr(name));
        }
        Known::NothingOfThatType | Known::Unknown => {}
    }
    answer.finish();
    Response::Ready
}

fn refused(bytes: &[u8], rcode: Rcode, out: &mut Vec<u8>) -> Response {
    refuse(bytes, rcode, out);
    Response::Ready
}

fn add_addresses(answer: &mut Answer<'_>, addresses: &[IpAddr]) {
    for address in in_turn(addresses) {
        let record = match address {
            IpAddr::V4(ip) => Record::A(*ip),
            IpAddr::V6(ip) => Record::Aaaa(*ip),
        };
        if !answer.add(record) {
            break;
        }
    }
}

/// What the container's networks know of a question.
enum Known {
    Addresses(Vec<IpAddr>),
    Name(String),
    NothingOfThatType,
    Unknown,
}

fn look_up(sandbox: &Sandbox, sight: &Sight, query: &Query) -> Known {
    let Some(name) = query.name.text().filter(|_| query.class == CLASS_IN) else { return Known::Unknown };
    let names = sandbox.names.read().unwrap_or_else(PoisonError::into_inner);
    let view = &sight.view;
    let of_family = |family| match resolve::forward(&names, view, name, family) {
        Found::Addresses(addresses) => Known::Addresses(addresses),
        Found::NoAddress => Known::NothingOfThatType,
        Found::Unknown => Known::Unknown,
    };
    match query.rtype {
        rtype::A => of_family(Family::V4),
        rtype::AAAA => of_family(Family::V6),
        rtype::PTR => {
            let known = address_of(name).and_then(|address| resolve::reverse(&names, view, address));
            known.map_or(Known::Unknown, Known::Name)
        }
        // A container is its own mail exchanger. About a name with dots, others may know more; about one without,
        // they can only say that it does not exist, which some clients then believe of its addresses, too.
        _ if query.rtype == rtype::MX || query.name.is_single_label() => match of_family(Family::V4) {
            Known::Unknown => Known::Unknown,
            _ => Known::NothingOfThatType,
        },
        _ => Known::Unknown,
    }
}

/// A container whose `ndots` says so completes names without dots itself. Docker's answer that makes it do so.
fn is_for_search_domains(sight: &Sight, query: &Query) -> bool {
    let address = matches!(query.rtype, rtype::A | rtype::AAAA);
    address && sight.view.upstream.ndots && query.name.is_single_label()
}

/// The addresses, beginning with another one each time, so that clients that take the first share the load.
fn in_turn(addresses: &[IpAddr]) -> impl Iterator<Item = &IpAddr> {
    thread_local!(static TURN: Cell<usize> = const { Cell::new(0) });
    let turn = if addresses.len() > 1 { TURN.with(|turn| turn.replace(turn.get().wrapping_add(1))) } else { 0 };
    let (behind, ahead) = addresses.split_at(turn % addresses.len().max(1));
    ahead.iter().chain(behind)
}

#[cfg(test)]
mod tests {
    use super::in_turn;
    use std::net::IpAddr;

    #[test]
    fn everybody_is_first_sometime() {
        let all: Vec<IpAddr> = (1..=3).map(|last| [10, 0, 0, last].into()).collect();
        let mut firsts: Vec<_> = (0..3).filter_map(|_| in_turn(&all).next()).collect();
        firsts.sort();
        assert_eq!(firsts, all.iter().collect::<Vec<_>>());
        assert_eq!(in_turn(&all).count(), 3);
        assert_eq!(in_turn(&[]).count(), 0);
    }
}
