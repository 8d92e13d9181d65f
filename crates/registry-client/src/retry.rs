//! Second attempts of small requests.

use crate::{Error, Result, error::is_transient, headers, transport::Answer};
use std::time::Duration;

const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A registry that wants to be left alone for longer has said no: nobody waits for it in front of a terminal.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Sends a small request, and again when the connection broke or the server says "not now".
pub(crate) async fn small<F: Future<Output = Result<Answer>>>(mut attempt: impl FnMut() -> F) -> Result<Answer> {
    for number in 0..ATTEMPTS - 1 {
        let result = attempt().await;
        let Some(pause) = pause(&result, number) else {
            return result;
        };
        drop(result);
        tokio::time::sleep(pause).await;
    }
    attempt().await
}

/// How long to wait before trying again, if that may help.
fn pause(result: &Result<Answer>, number: u32) -> Option<Duration> {
    let wished = match result {
        Err(Error::NoAnswer { failure, .. }) if failure.is_loss() => None,
        Ok(answer) if is_transient(answer.status.as_u16()) => headers::retry_after(&answer.headers),
        _ => return None,
    };
    match wished {
        Some(wished) => (wished <= LONGEST_PAUSE).then_some(wished),
        None => Some(FIRST_PAUSE * 2_u32.pow(number) + jitter()),
    }
}

/// Keeps requests that failed together from coming back together.
fn jitter() -> Duration {
    let mut byte = [0_u8];
    // Without randomness they come back together; that is all.
    let _ = getrandom::fill(&mut byte);
    Duration::from_millis(byte[0].into())
}
