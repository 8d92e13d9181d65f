//! Long operations that tell how far they are: pulls, pushes, imports from elsewhere.

use gantry_api_types::ProgressMessage;
use gantry_model::{Error, Result};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Lines that may wait before [`Reporter::room`] holds its caller back.
const ROOM: usize = 512;

/// An operation on a task of its own. Dropping it ends the operation, as far as nobody else waits for parts of it.
#[derive(Debug)]
pub struct Operation {
    lines: Arc<Lines>,
    task: JoinHandle<Result<()>>,
    /// How it ended, once that is known and not yet told.
    outcome: Option<Result<()>>,
    over: bool,
}

/// Where an operation tells how far it is. Telling never waits: what a slow reader has not taken yet is replaced by
/// what is newer, so that a queue is as long as the operation has parts, not as long as it takes.
#[derive(Debug, Clone)]
pub struct Reporter(Arc<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// Nobody will take anything.
    unread: bool,
    waiting: Mutex<VecDeque<ProgressMessage>>,
    /// Something was added.
    added: Notify,
    /// Something was taken.
    taken: Notify,
}

impl Operation {
    /// Starts `work`.
    pub fn start<F, W>(work: F) -> Self
    where
        F: FnOnce(Reporter) -> W,
        W: Future<Output = Result<()>> + Send + 'static,
    {
        let lines = Arc::<Lines>::default();
        let task = tokio::spawn(work(Reporter(lines.clone())));
        Self { lines, task, outcome: None, over: false }
    }

    /// The next line; after the last one the error, if there was one; then `None`.
    pub async fn next(&mut self) -> Option<Result<ProgressMessage>> {
        loop {
            if let Some(line) = self.lines.take() {
                return Some(Ok(line));
            }
            if self.over {
                return self.outcome.take().and_then(Result::err).map(Err);
            }
            tokio::select! {
                () = self.lines.added.notified() => {}
                ended = &mut self.task => {
                    self.over = true;
                    let broken = |e| Err(Error::internal(format!("the operation broke off: {e}")));
                    self.outcome = Some(ended.unwrap_or_else(broken));
                }
            }
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reporter {
    /// One that nobody reads, with room for everything.
    pub(crate) fn unread() -> Self {
        Self(Arc::new(Lines { unread: true, ..Lines::default() }))
    }

    /// Adds a line, or replaces the one it overtakes.
    pub fn tell(&self, line: ProgressMessage) {
        if self.0.unread {
            return;
        }
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let overtaken = waiting.iter_mut().rev().find(|older| older.id == line.id && is_measure(&line));
        match overtaken {
            Some(older) if older.status == line.status && is_measure(older) => *older = line,
            _ => waiting.push_back(line),
        }
        drop(waiting);
        self.0.added.notify_one();
    }

    /// Ready when the reader is not far behind: for operations with any number of parts, between them.
    pub async fn room(&self) {
        loop {
            let taken = self.0.taken.notified();
            if self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).len() < ROOM {
                return;
            }
            taken.await;
        }
    }
}

impl Lines {
    fn take(&self) -> Option<ProgressMessage> {
        let line = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        if line.is_some() {
            self.taken.notify_waiters();
        }
        line
    }
}

/// Whether a line only says how far something is.
fn is_measure(line: &ProgressMessage) -> bool {
    line.progress_detail.as_ref().is_some_and(|detail| detail.current > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::ProgressDetail;

    fn line(id: &str, status: &str, current: i64) -> ProgressMessage {
        ProgressMessage {
            id: id.to_owned(),
            status: status.to_owned(),
            progress_detail: Some(ProgressDetail { current, total: 9 }),
            ..ProgressMessage::default()
        }
    }

    #[tokio::test]
    async fn a_slow_reader_sees_the_newest_measure_of_each_part() {
        let mut operation = Operation::start(|reporter| async move {
            for current in 1..=1000 {
                reporter.tell(line("a", "Downloading", current));
                reporter.tell(line("b", "Downloading", current));
            }
            reporter.tell(line("a", "Complete", 0));
            reporter.tell(line("a", "Extracting", 1));
            reporter.tell(line("a", "Extracting", 2));
            Err(Error::not_found("gone"))
        });
        while !operation.task.is_finished() {
            tokio::task::yield_now().await;
        }
        let mut seen = Vec::new();
        let error = loop {
            match operation.next().await.unwrap() {
                Ok(line) => seen.push((line.id, line.status, line.progress_detail.unwrap().current)),
                Err(e) => break e,
            }
        };
        let expected = [("a", "Downloading", 1000), ("b", "Downloading", 1000), ("a", "Complete", 0)];
        let expected = expected.into_iter().chain([("a", "Extracting", 2)]);
        assert_eq!(seen, expected.map(|(id, s, n)| (id.to_owned(), s.to_owned(), n)).collect::<Vec<_>>());
        assert_eq!(error.message(), "gone");
        assert!(operation.next().await.is_none());
    }

    #[tokio::test]
    async fn many_parts_wait_for_the_reader() {
        let mut operation = Operation::start(|reporter| async move {
            for part in 0..3 * ROOM {
                reporter.room().await;
                reporter.tell(line(&part.to_string(), "Found", 0));
            }
            Ok(())
        });
        let mut lines = 0;
        while let Some(line) = operation.next().await {
            line.unwrap();
            lines += 1;
            assert!(operation.lines.waiting.lock().unwrap().len() <= ROOM);
        }
        assert_eq!(lines, 3 * ROOM);
    }

    #[tokio::test]
    async fn dropping_ends_it() {
        let (held, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        let operation = Operation::start(|_| async move {
            let _held = held;
            std::future::pending().await
        });
        drop(operation);
        assert_eq!(ended.recv().await, None);
    }
}
