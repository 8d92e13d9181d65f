//! Where a build's text goes.

use crate::operation::Reporter;
use futures_util::future::BoxFuture;
use gantry_api_types::ProgressMessage;
use gantry_image_builder::Sink;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// What is kept of a quiet build's output, in case it fails.
const KEPT: usize = 1 << 20;

/// The text: told at once, or kept by a quiet build.
#[derive(Clone)]
pub(super) struct Output {
    reporter: Reporter,
    kept: Option<Arc<Mutex<Kept>>>,
}

#[derive(Default)]
struct Kept {
    texts: VecDeque<String>,
    size: usize,
}

impl Output {
    pub(super) fn new(reporter: Reporter, quiet: bool) -> Self {
        Self { reporter, kept: quiet.then(Arc::default) }
    }

    /// For what is told in other words than text.
    pub(super) fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Tells what was kept.
    pub(super) async fn tell_all(&self, reporter: &Reporter) {
        let Some(kept) = &self.kept else { return };
        let texts = std::mem::take(&mut kept.lock().unwrap_or_else(PoisonError::into_inner).texts);
        for text in texts {
            tell(reporter, text).await;
        }
    }
}

impl Sink for Output {
    fn send(&self, text: String) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(kept) = &self.kept else { return tell(&self.reporter, text).await };
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.size += text.len();
            kept.texts.push_back(text);
            while kept.size > KEPT {
                let Some(first) = kept.texts.pop_front() else { break };
                kept.size -= first.len();
            }
        })
    }
}

/// Waits while the client is far behind: a command may print without end.
pub(super) async fn tell(reporter: &Reporter, stream: String) {
    reporter.room().await;
    reporter.tell(ProgressMessage { stream, ..ProgressMessage::default() });
}
