//! After the container: every daemon hears how it ended, every client gets the rest of its output.

use crate::clients::Clients;
use crate::connections::Connections;
use crate::poller::{Poller, Token};
use gantry_shim_protocol::{
    Answer, Event, Exit, Failure, MAX_PACKET, Message, Phase, Request, RequestBody, Stage, Status,
};
use std::rc::Rc;
use std::time::Duration;

/// The daemon connects right after it has started a shim. One that has not by now is dead, and the
/// next one finds the exit file.
const FIRST_DAEMON: Duration = Duration::from_secs(10);
/// A daemon or client that takes nothing for so long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// How it ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// The program ran.
    Exited(Exit),
    /// It never did.
    NotStarted(Failure),
}

/// What a shim without a container still holds.
#[derive(Debug)]
pub(crate) struct Farewell {
    pub(crate) poller: Rc<Poller>,
    pub(crate) connections: Connections,
    pub(crate) clients: Clients,
    pub(crate) ending: Ending,
}

impl Farewell {
    /// Tells everybody, and returns when there is nobody left to tell.
    pub(crate) fn run(mut self) {
        self.clients.leave_all();
        let event = match &self.ending {
            Ending::Exited(exit) => Event::Exited(*exit),
            Ending::NotStarted(failure) => Event::StartFailed(failure.clone()),
        };
        self.connections.announce(event, None, &self.poller);
        self.connections.accept(&self.poller);
        loop {
            self.clients.update(false, &self.poller);
            if self.connections.is_heard() && self.clients.is_empty() {
                self.connections.refuse_requests().into_iter().for_each(|id| self.serve(id));
                return;
            }
            let patience = if self.connections.is_attended() { STALLED } else { FIRST_DAEMON };
            match self.poller.wait(Some(patience)) {
                Ok(ready) if !ready.is_empty() => {
                    for (token, hung_up) in ready.events() {
                        self.handle(token, hung_up);
                    }
                }
                _ => return,
            }
        }
    }

    fn handle(&mut self, token: Token, hung_up: bool) {
        match token {
            Token::Listener => drop(self.connections.accept(&self.poller)),
            Token::Connection(id) => {
                self.connections.flush(id, &self.poller);
                self.serve(id);
            }
            Token::Client(id) if hung_up => self.clients.hang_up(id),
            Token::Client(id) => self.clients.flush(id),
            // Whatever else was being waited for ended with the container.
            _ => {}
        }
    }

    fn serve(&mut self, id: u32) {
        let mut buf = vec![0; MAX_PACKET];
        while let Some((request, _)) = self.connections.receive(id, &mut buf, &self.poller) {
            let message = Message::Answer { id: request.id, answer: self.answer(&request) };
            self.connections.send(id, &message, Vec::new(), &self.poller);
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        match (&request.body, &self.ending) {
            (RequestBody::Status, Ending::Exited(exit)) => {
                Answer::Status(Status { phase: Phase::Exited(*exit), execs: Vec::new() })
            }
            (_, Ending::NotStarted(failure)) => Answer::Failed(failure.clone()),
            (_, Ending::Exited(_)) => {
                let message = "the container has ended".to_owned();
                Answer::Failed(Failure { stage: Stage::State, errno: 0, message })
            }
        }
    }
}
