//! `GET /events`: history first, then what happens.

use super::{Events, matching, window};
use crate::Engine;
use crate::filters::Filters;
use gantry_api_types::EventMessage;
use gantry_model::{Error, Result, Timestamp};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

/// Query parameters of events, as the client wrote them.
#[derive(Debug, Clone, Default)]
pub struct EventsOptions {
    /// Show the history from here on.
    pub since: Option<String>,
    /// End here.
    pub until: Option<String>,
    /// Which events.
    pub filters: Filters,
}

/// An open stream of events.
#[derive(Debug)]
pub struct EventStream {
    history: VecDeque<Arc<EventMessage>>,
    /// `None` when only the past was asked for.
    live: Option<broadcast::Receiver<Arc<EventMessage>>>,
    /// When the stream ends.
    deadline: Option<Instant>,
    filter: Filter,
    listeners: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Filter {
    filters: Filters,
    daemon: [String; 2],
}

impl Filter {
    fn matches(&self, event: &EventMessage) -> bool {
        matching::matches(&self.filters, event, &[&self.daemon[0], &self.daemon[1]])
    }
}

impl Engine {
    /// Opens a stream of events.
    pub fn events(&self, options: EventsOptions) -> Result<EventStream> {
        let host = host_name();
        self.events.open(options, [self.id.clone(), host])
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Events {
    /// A stream; `daemon` are the names under which filters may know this engine.
    fn open(&self, options: EventsOptions, daemon: [String; 2]) -> Result<EventStream> {
        let since = window::parse("since", options.since.as_deref())?;
        let until = window::parse("until", options.until.as_deref())?;
        if since.zip(until).is_some_and(|(since, until)| until < since) {
            return Err(Error::invalid(format!(
                "`since` time ({}) cannot be after `until` time ({})",
                options.since.unwrap_or_default(),
                options.until.unwrap_or_default()
            )));
        }
        let filter = Filter { filters: options.filters, daemon };
        let now = Timestamp::now().unix_nanos().and_then(|n| i64::try_from(n).ok()).unwrap_or(0);
        let remaining = until.map(|until| u64::try_from(until.saturating_sub(now)).unwrap_or(0));
        // Both under one lock: no event is in neither and none in both.
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let live = (remaining != Some(0)).then(|| self.live.subscribe());
        let past = match (since, until) {
            (None, None) => VecDeque::new(),
            _ => history
                .iter()
                .filter(|e| e.time_nano >= since.unwrap_or(0) && until.is_none_or(|until| e.time_nano <= until))
                .filter(|e| filter.matches(e))
                .cloned()
                .collect(),
        };
        drop(history);
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Ok(EventStream {
            history: past,
            live,
            deadline: remaining.map(|nanos| Instant::now() + Duration::from_nanos(nanos)),
            filter,
            listeners: self.listeners.clone(),
        })
    }
}

impl EventStream {
    /// The next event; `None` at the end of the asked time. A reader that is too slow gets an error
    /// and the end of the stream, never a silent gap.
    pub async fn next(&mut self) -> Option<Result<EventMessage>> {
        if let Some(event) = self.history.pop_front() {
            return Some(Ok(EventMessage::clone(&event)));
        }
        loop {
            let live = self.live.as_mut()?;
            let received = match self.deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, live.recv()).await,
                None => Ok(live.recv().await),
            };
            match received {
                Ok(Ok(event)) if self.filter.matches(&event) => return Some(Ok(EventMessage::clone(&event))),
                Ok(Ok(_)) => {}
                Ok(Err(RecvError::Lagged(missed))) => {
                    self.live = None;
                    return Some(Err(Error::internal(format!("the reader of events is too slow: {missed} were lost"))));
                }
                Ok(Err(RecvError::Closed)) | Err(_) => {
                    self.live = None;
                    return None;
                }
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, QUEUE, history::MOST};
    use super::*;

    fn open(events: &Events, since: Option<&str>, until: Option<&str>) -> Result<EventStream> {
        let options = EventsOptions {
            since: since.map(str::to_owned),
            until: until.map(str::to_owned),
            filters: Filters::default(),
        };
        events.open(options, [String::new(), String::new()])
    }

    fn publish(events: &Events, id: &str) {
        events.publish(Kind::Container, "start", id, [("image".to_owned(), "i".to_owned())].into());
    }

    async fn ids(mut stream: EventStream) -> Vec<String> {
        let mut ids = Vec::new();
        while let Some(Ok(event)) = stream.next().await {
            ids.push(event.actor.id);
        }
        ids
    }

    #[tokio::test]
    async fn history_then_live() {
        let events = Events::new();
        publish(&events, "a");
        let mut stream = open(&events, Some("1.5"), None).unwrap();
        let mut only_live = open(&events, None, None).unwrap();
        assert_eq!(events.listeners(), 2);
        publish(&events, "b");
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!((first.id.as_str(), first.from.as_str(), first.status.as_str()), ("a", "i", "start"));
        assert_eq!(stream.next().await.unwrap().unwrap().id, "b");
        assert_eq!(only_live.next().await.unwrap().unwrap().id, "b");
        drop((stream, only_live));
        assert_eq!(events.listeners(), 0);
    }

    #[tokio::test]
    async fn until_ends_the_stream() {
        let events = Events::new();
        publish(&events, "a");
        let now = Timestamp::now();
        assert_eq!(ids(open(&events, Some("0"), Some(&now.to_string())).unwrap()).await, ["a"]);
        let soon = Timestamp::from_unix_nanos(now.unix_nanos().unwrap() + 20_000_000).to_string();
        assert!(ids(open(&events, None, Some("1")).unwrap()).await.is_empty());
        assert_eq!(ids(open(&events, Some("0"), Some(&soon)).unwrap()).await, ["a"]);
        let message = open(&events, Some("5"), Some("4")).unwrap_err().to_string();
        assert_eq!(message, "`since` time (5) cannot be after `until` time (4)");
    }

    #[tokio::test]
    async fn a_slow_reader_gets_an_error() {
        let events = Events::new();
        let mut stream = open(&events, None, None).unwrap();
        for n in 0..=QUEUE {
            publish(&events, &n.to_string());
        }
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn the_history_is_bounded() {
        let events = Events::new();
        for n in 0..MOST + 3 {
            publish(&events, &n.to_string());
        }
        let all = ids(open(&events, Some("0"), Some(&Timestamp::now().to_string())).unwrap()).await;
        assert_eq!((all.len(), all[0].as_str()), (MOST, "3"));
    }
}
