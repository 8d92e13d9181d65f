//! Operations that read an upload and report progress, a JSON object a line.

use super::{QUEUE, Upload, body, json_line, upload::Feeding};
use crate::{
    request::RequestBody,
    respond,
    wire::{Body, BodyError},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use gantry_api_types::ProgressMessage;
use gantry_model::{Error, Result};
use http::{HeaderValue, Response, StatusCode, header};
use tokio::sync::mpsc;

/// Where an operation on a blocking thread reports.
#[derive(Clone)]
pub(crate) struct ProgressSink(mpsc::Sender<Bytes>);

impl ProgressSink {
    /// Sends one line. A client that is gone shows when the operation reads its upload.
    pub(crate) fn send(&self, message: &ProgressMessage) {
        let _ = self.0.blocking_send(json_line(message));
    }
}

/// Runs `work` on a blocking thread with the request's body. What fails before the first report is an
/// ordinary error; what fails later is the stream's last line, as in Docker.
///
/// A client that goes away drops the answer, the feeder of the upload with it, and so fails `work`.
pub(crate) async fn operation<F>(upload: RequestBody, work: F) -> Result<Response<Body>>
where
    F: FnOnce(Upload, ProgressSink) -> Result<()> + Send + 'static,
{
    let (upload, feeding) = Upload::new(upload);
    let (sink, mut lines) = mpsc::channel::<Bytes>(QUEUE);
    let task = tokio::task::spawn_blocking(move || work(upload, ProgressSink(sink)));
    let Some(first) = lines.recv().await else {
        // Nothing was reported: the task is over.
        task.await.map_err(|e| Error::internal(format!("the operation broke off: {e}")))??;
        return Ok(answer(respond::full(Bytes::new())));
    };
    let rest = stream::poll_fn(move |cx| lines.poll_recv(cx));
    let end = stream::once(async move { last_line(task.await, feeding) });
    let lines = stream::iter([first]).chain(rest).chain(end).map(Ok::<_, BodyError>);
    Ok(answer(body(lines)))
}

fn last_line(outcome: Result<Result<()>, tokio::task::JoinError>, _feeding: Feeding) -> Bytes {
    let failure = match outcome {
        Ok(Ok(())) => return Bytes::new(),
        Ok(Err(e)) => e.to_string(),
        Err(e) => format!("the operation broke off: {e}"),
    };
    json_line(&ProgressMessage::failure(failure))
}

fn answer(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Read;

    fn status(text: &str) -> ProgressMessage {
        ProgressMessage { status: text.into(), ..ProgressMessage::default() }
    }

    #[tokio::test]
    async fn lines_and_a_late_failure() {
        let body = RequestBody::Whole(Bytes::from_static(b"tar"));
        let response = operation(body, |mut upload, sink| {
            let mut text = String::new();
            upload.read_to_string(&mut text)?;
            sink.send(&status(&text));
            Err(Error::invalid("broken"))
        });
        let body = response.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "{\"status\":\"tar\"}\n{\"errorDetail\":{\"message\":\"broken\"},\"error\":\"broken\"}\n");
    }

    #[tokio::test]
    async fn an_early_failure_is_an_error() {
        let body = RequestBody::Whole(Bytes::new());
        let error = operation(body, |_, _| Err(Error::invalid("broken"))).await.err().unwrap();
        assert_eq!(error.to_string(), "broken");
    }
}
