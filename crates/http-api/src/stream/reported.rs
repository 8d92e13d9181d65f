//! Operations of the engine that tell how far they are.

use super::{body, json_line};
use crate::{respond, wire::Body};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gantry_api_types::ProgressMessage;
use gantry_engine::Operation;
use gantry_model::{Error, Result};
use http::{HeaderValue, Response, header};
use std::{future::Future, pin::Pin};

/// Ready when the daemon stops.
type Stopped = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Answers with an operation's lines. What fails before the first is an ordinary error; what fails later is the last
/// line, as in Docker. The operation ends with the answer: a client that goes away ends both.
pub(crate) async fn reported(
    mut operation: Operation,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<Response<Body>> {
    let mut stopped: Stopped = Box::pin(stopped);
    let first = tokio::select! {
        first = operation.next() => first,
        () = &mut stopped => return Err(stopping()),
    };
    let mut response = Response::new(match first {
        None => respond::full(Bytes::new()),
        Some(Err(e)) => return Err(e),
        Some(Ok(line)) => {
            let rest = stream::unfold(Some((operation, stopped)), next);
            body(stream::iter([json_line(&line)]).chain(rest).map(Ok))
        }
    });
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn next(running: Option<(Operation, Stopped)>) -> Option<(Bytes, Option<(Operation, Stopped)>)> {
    let (mut operation, mut stopped) = running?;
    let line = tokio::select! {
        line = operation.next() => line?,
        () = &mut stopped => Err(stopping()),
    };
    Some(match line {
        Ok(line) => (json_line(&line), Some((operation, stopped))),
        Err(e) => (json_line(&ProgressMessage::failure(e.message())), None),
    })
}

fn stopping() -> Error {
    Error::unavailable("the daemon is shutting down")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::future::pending;

    fn line(text: &str) -> ProgressMessage {
        ProgressMessage { status: text.to_owned(), ..ProgressMessage::default() }
    }

    async fn text(response: Result<Response<Body>>) -> String {
        let bytes = response.unwrap().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.into()).unwrap()
    }

    #[tokio::test]
    async fn early_and_late_failures() {
        let early = Operation::start(|_| async { Err(Error::not_found("no such thing")) });
        assert_eq!(reported(early, pending()).await.err().unwrap().message(), "no such thing");
        let late = Operation::start(|reporter| async move {
            reporter.tell(line("a"));
            Err(Error::not_found("b"))
        });
        let late = text(reported(late, pending()).await).await;
        assert_eq!(late, "{\"status\":\"a\"}\n{\"errorDetail\":{\"message\":\"b\"},\"error\":\"b\"}\n");
    }

    #[tokio::test]
    async fn the_daemons_end_ends_it() {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let endless = Operation::start(|reporter| async move {
            reporter.tell(line("a"));
            pending().await
        });
        let response = reported(endless, async { drop(stopped.await) }).await;
        stop.send(()).unwrap();
        assert!(text(response).await.ends_with("\"error\":\"the daemon is shutting down\"}\n"));
    }
}
