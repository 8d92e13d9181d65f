//! What a build prints: stages that run side by side, one after the other.
//!
//! The first stage that is not over prints at once; what the others print waits, up to a bound, and then they wait.

use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify};

/// Bytes that a stage whose turn has not come may print.
const MOST: usize = 256 << 10;

/// Where texts go. It may hold its caller back.
pub trait Sink: Send + Sync {
    /// Takes a text.
    fn send(&self, text: String) -> BoxFuture<'_, ()>;
}

/// The printed text of one stage.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
    stage: usize,
}

struct Shared {
    sink: Box<dyn Sink>,
    turns: Mutex<Turns>,
    changed: Notify,
}

#[derive(Default)]
struct Turns {
    /// Stages that are not over, with what waits of each.
    waiting: BTreeMap<usize, Waiting>,
}

#[derive(Default)]
struct Waiting {
    texts: Vec<String>,
    size: usize,
    over: bool,
}

impl Console {
    /// Consoles for these stages, which print in this order.
    pub fn for_stages(sink: Box<dyn Sink>, stages: &[usize]) -> Vec<Self> {
        let waiting = stages.iter().map(|stage| (*stage, Waiting::default())).collect();
        let shared = Arc::new(Shared { sink, turns: Mutex::new(Turns { waiting }), changed: Notify::new() });
        stages.iter().map(|stage| Self { shared: shared.clone(), stage: *stage }).collect()
    }

    /// Prints a text.
    pub async fn say(&self, text: impl Into<String>) {
        let text = text.into();
        if text.is_empty() {
            return;
        }
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut turns = self.shared.turns.lock().await;
                let first = turns.waiting.first_key_value().map(|(stage, _)| *stage);
                if first.is_none_or(|first| first >= self.stage) {
                    return self.shared.sink.send(text).await;
                }
                let mine = turns.waiting.entry(self.stage).or_default();
                if mine.size + text.len() <= MOST || mine.texts.is_empty() {
                    mine.size += text.len();
                    mine.texts.push(text);
                    return;
                }
            }
            changed.await;
        }
    }

    /// The stage fails: what it had to say is said now, because no turn of its own will come.
    pub async fn fail(&self) {
        let mut turns = self.shared.turns.lock().await;
        let texts = turns.waiting.get_mut(&self.stage).map(|mine| std::mem::take(&mut mine.texts));
        for text in texts.into_iter().flatten() {
            self.shared.sink.send(text).await;
        }
    }

    /// The stage prints nothing more.
    pub async fn over(&self) {
        let mut turns = self.shared.turns.lock().await;
        turns.waiting.entry(self.stage).or_default().over = true;
        while let Some(mut first) = turns.waiting.first_entry() {
            let texts = std::mem::take(&mut first.get_mut().texts);
            first.get_mut().size = 0;
            for text in texts {
                self.shared.sink.send(text).await;
            }
            if !first.get().over {
                break;
            }
            first.remove();
        }
        drop(turns);
        self.shared.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<String>>>);

    impl Sink for Lines {
        fn send(&self, text: String) -> BoxFuture<'_, ()> {
            self.0.lock().unwrap().push(text);
            Box::pin(async {})
        }
    }

    #[tokio::test]
    async fn stages_print_in_their_order() {
        let lines = Lines::default();
        let consoles = Console::for_stages(Box::new(lines.clone()), &[0, 2, 5]);
        let [a, b, c] = &consoles[..] else { panic!() };
        c.say("c1").await;
        b.say("b1").await;
        a.say("a1").await;
        c.over().await;
        a.say("a2").await;
        a.over().await;
        b.say("b2").await;
        b.over().await;
        assert_eq!(*lines.0.lock().unwrap(), ["a1", "a2", "b1", "b2", "c1"]);
    }

    #[tokio::test]
    async fn a_stage_that_prints_much_waits() {
        let lines = Lines::default();
        let consoles = Console::for_stages(Box::new(lines.clone()), &[0, 1]);
        let (a, b) = (consoles[0].clone(), consoles[1].clone());
        let much = tokio::spawn(async move {
            for _ in 0..1000 {
                b.say("x".repeat(1024)).await;
            }
            b.over().await;
        });
        while b_waits(&a).await < MOST / 1024 - 1 {
            tokio::task::yield_now().await;
        }
        assert!(lines.0.lock().unwrap().is_empty() && !much.is_finished());
        a.over().await;
        much.await.unwrap();
        assert_eq!(lines.0.lock().unwrap().len(), 1000);
    }

    async fn b_waits(console: &Console) -> usize {
        console.shared.turns.lock().await.waiting.get(&1).map_or(0, |waiting| waiting.texts.len())
    }
}
