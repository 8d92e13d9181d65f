//! Letting go of what takes time to let go of.

use std::ops::{Deref, DerefMut};

/// A hold on files of the store. Whatever only it kept is removed with it, which is work for a thread that may block,
/// not for the one on which a client went away.
#[derive(Debug)]
pub(crate) struct Later<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> Later<T> {
    pub(crate) fn new(held: T) -> Self {
        Self(Some(held))
    }

    pub(crate) fn take(mut self) -> T {
        self.0.take().expect("only taken here and when it is dropped")
    }
}

impl<T: Send + 'static> Deref for Later<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("only taken with the whole")
    }
}

impl<T: Send + 'static> DerefMut for Later<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.as_mut().expect("only taken with the whole")
    }
}

impl<T: Send + 'static> Drop for Later<T> {
    fn drop(&mut self) {
        if let Some(held) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(held));
        }
    }
}
