//! Questions that come in datagrams.

use crate::forward;
use crate::message::{Rcode, refusal, refuse};
use crate::opener::Transport;
use crate::respond::{Response, respond};
use crate::sandbox::Sandbox;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The largest query that is taken; a longer one is cut off, and then no query. Those of clients have a few dozen bytes,
/// with padding a few hundred.
const LARGEST_QUERY: usize = 4096;

/// Datagrams that are answered before others have their turn.
const BATCH: usize = 64;

/// Answers what has arrived.
pub(crate) fn answer_all(sandbox: &Arc<Sandbox>, tasks: &mut JoinSet<()>) {
    let mut buffer = [0; LARGEST_QUERY];
    let mut out = Vec::new();
    for _ in 0..BATCH {
        match sandbox.udp.try_recv_from(&mut buffer) {
            Ok((len, client)) => answer(sandbox, tasks, &buffer[..len], client, &mut out),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
            // What the network says about an earlier answer that found nobody.
            Err(e) => tracing::debug!("container {}: its name server: {e}", sandbox.id),
        }
    }
}

fn answer(sandbox: &Arc<Sandbox>, tasks: &mut JoinSet<()>, bytes: &[u8], client: SocketAddr, out: &mut Vec<u8>) {
    match respond(sandbox, bytes, None, out) {
        Response::Silence => {}
        Response::Ready => send(sandbox, out, client),
        Response::Forward(sight, question) => {
            let Some(turn) = forward::turn(sandbox) else {
                refuse(bytes, Rcode::Refused, out);
                return send(sandbox, out, client);
            };
            let (sandbox, bytes): (_, Box<[u8]>) = (sandbox.clone(), bytes.into());
            tasks.spawn(async move {
                let reply = match turn.come().await {
                    Some(_permit) => forward::ask(&sandbox, &sight, bytes, question, Transport::Udp).await,
                    None => refusal(&bytes),
                };
                send(&sandbox, &reply, client);
            });
        }
    }
}

/// An answer that does not fit into the socket's buffer is lost, as datagrams are; the client asks again.
fn send(sandbox: &Sandbox, answer: &[u8], client: SocketAddr) {
    if let Err(e) = sandbox.udp.try_send_to(answer, client) {
        tracing::debug!("container {}: an answer to {client}: {e}", sandbox.id);
    }
}
