//! The events that `since` can ask for.

use gantry_api_types::EventMessage;
use std::collections::VecDeque;
use std::sync::Arc;

/// Events kept; Docker keeps 256.
pub(super) const MOST: usize = 1024;
/// Bytes of them. Events carry labels, which may be long.
const MOST_BYTES: usize = 1 << 20;

/// The latest events, the oldest first; bounded by count and by size, whichever is reached first.
#[derive(Debug, Default)]
pub(super) struct History {
    events: VecDeque<Arc<EventMessage>>,
    bytes: usize,
}

impl History {
    /// Remembers an event and forgets the oldest where there is no room. The latest one is always kept.
    pub(super) fn push(&mut self, event: Arc<EventMessage>) {
        self.bytes += size(&event);
        self.events.push_back(event);
        while self.events.len() > MOST || (self.bytes > MOST_BYTES && self.events.len() > 1) {
            let oldest = self.events.pop_front();
            self.bytes -= oldest.map_or(0, |event| size(&event));
        }
    }

    /// The oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<EventMessage>> {
        self.events.iter()
    }
}

/// About what an event takes in memory.
fn size(event: &EventMessage) -> usize {
    let attributes: usize = event.actor.attributes.iter().map(|(key, value)| 64 + key.len() + value.len()).sum();
    256 + 2 * event.actor.id.len() + event.from.len() + attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize, padding: usize) -> Arc<EventMessage> {
        let mut event = EventMessage { time_nano: n as i64, ..EventMessage::default() };
        event.actor.attributes.insert("label".to_owned(), "x".repeat(padding));
        Arc::new(event)
    }

    fn oldest(history: &History) -> i64 {
        history.iter().next().expect("the latest is kept").time_nano
    }

    #[test]
    fn bounded_by_count() {
        let mut history = History::default();
        (0..MOST + 3).for_each(|n| history.push(event(n, 0)));
        assert_eq!((history.iter().count(), oldest(&history)), (MOST, 3));
    }

    #[test]
    fn bounded_by_size() {
        let mut history = History::default();
        (0..40).for_each(|n| history.push(event(n, MOST_BYTES / 10)));
        assert!(history.bytes <= MOST_BYTES && history.iter().count() == 9, "{}", history.iter().count());
        history.push(event(40, 2 * MOST_BYTES));
        assert_eq!((history.iter().count(), oldest(&history)), (1, 40));
        history.push(event(41, 0));
        assert_eq!((history.iter().count(), oldest(&history)), (1, 41));
    }
}
