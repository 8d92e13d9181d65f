//! Events: a bounded history, live streams, and who publishes what.

mod emit;
mod history;
mod matching;
mod stream;
mod window;

pub use stream::{EventStream, EventsOptions};

use gantry_api_types::{EventActor, EventMessage};
use gantry_model::Timestamp;
use history::History;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Events a reader may be behind before its stream ends with an error.
const QUEUE: usize = 1024;

/// What an event is about (`Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// The builder.
    Builder,
    /// A network.
    Network,
    /// The engine itself.
    Daemon,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Builder => "builder",
            Self::Network => "network",
            Self::Daemon => "daemon",
        }
    }
}

/// The hub: publishers on one side, streams on the other.
#[derive(Debug)]
pub struct Events {
    /// Guards the order too: history and queue hold the same events in the same order.
    history: Mutex<History>,
    live: broadcast::Sender<Arc<EventMessage>>,
    listeners: Arc<AtomicUsize>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// An empty hub.
    pub fn new() -> Self {
        Self { history: Mutex::default(), live: broadcast::channel(QUEUE).0, listeners: Arc::new(AtomicUsize::new(0)) }
    }

    /// Tells everybody who listens, and remembers.
    pub fn publish(&self, kind: Kind, action: &str, actor_id: &str, attributes: BTreeMap<String, String>) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        // The clock is read under the lock, so that the history is in the order of its times.
        let now = Timestamp::now().unix_nanos().and_then(|n| i64::try_from(n).ok()).unwrap_or(0);
        let event = Arc::new(message(kind, action, actor_id, attributes, now));
        history.push(event.clone());
        // No receiver is no error.
        drop(self.live.send(event));
    }

    /// How many streams are open.
    pub fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }
}

fn message(kind: Kind, action: &str, id: &str, attributes: BTreeMap<String, String>, nanos: i64) -> EventMessage {
    let mut event = EventMessage {
        r#type: kind.as_str().to_owned(),
        action: action.to_owned(),
        scope: "local".to_owned(),
        time: nanos.div_euclid(1_000_000_000),
        time_nano: nanos,
        ..EventMessage::default()
    };
    // The form of API 1.21, which only knew containers and images.
    if matches!(kind, Kind::Container | Kind::Image) {
        action.clone_into(&mut event.status);
        id.clone_into(&mut event.id);
    }
    if kind == Kind::Container {
        event.from = attributes.get("image").cloned().unwrap_or_default();
    }
    event.actor = EventActor { id: id.to_owned(), attributes };
    event
}
