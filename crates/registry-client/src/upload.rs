//! Blobs on their way there.

use crate::{
    Error, Repository, Result,
    refuse::refuse,
    session::{Request, wording},
    transport::{Answer, Call, Payload, SourceFailed, Url},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use gantry_model::Digest;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The answer to the wish to take a blob over from another repository of the same registry.
#[derive(Debug)]
pub enum Mount {
    /// The blob is there now.
    Mounted,
    /// It has to be sent.
    Upload(UploadSession),
}

/// A blob's upload that has been announced.
#[derive(Debug)]
pub struct UploadSession {
    repository: Repository,
    location: Url,
}

impl Repository {
    /// Takes a blob over from another repository of this registry, or begins to upload it.
    pub async fn mount_blob(&self, digest: &Digest, from_repository: &str) -> Result<Mount> {
        let mut request =
            Request::new(Method::POST, self.target(&format!("blobs/uploads/?mount={digest}&from={from_repository}")));
        request.from = Some(from_repository);
        let result = self.ask(&request).await;
        match result {
            Ok(answer) if answer.status == StatusCode::CREATED => {
                answer.body.beginning().await;
                Ok(Mount::Mounted)
            }
            Ok(answer) if answer.status == StatusCode::ACCEPTED => self.session_of(answer).await.map(Mount::Upload),
            // Not being allowed to read the other repository, or a registry that knows no mounts, is no reason not to
            // send the blob.
            Ok(answer) if answer.status.is_client_error() => {
                answer.body.beginning().await;
                self.start_upload().await.map(Mount::Upload)
            }
            Ok(answer) => Err(refuse(answer, None).await),
            Err(Error::NoToken { .. }) => self.start_upload().await.map(Mount::Upload),
            Err(e) => Err(e),
        }
    }

    /// Begins an upload.
    pub async fn start_upload(&self) -> Result<UploadSession> {
        let answer = self.get(&Request::new(Method::POST, self.target("blobs/uploads/")), None).await?;
        self.session_of(answer).await
    }

    async fn session_of(&self, answer: Answer) -> Result<UploadSession> {
        let location = answer.headers.get(header::LOCATION).map(|l| String::from_utf8_lossy(l.as_bytes()).into_owned());
        let location =
            location.ok_or_else(|| Error::Protocol(format!("{}: an upload without a location", answer.url)))?;
        let location = answer.url.join(&location).map_err(Error::Protocol)?;
        answer.body.beginning().await;
        Ok(UploadSession { repository: self.clone(), location })
    }
}

impl UploadSession {
    /// Sends the blob, of which the registry checks the digest. The body is sent with its length in one request, as
    /// containerd does it: what every registry knows, and with one round trip less than in chunks.
    pub async fn send(
        self,
        digest: &Digest,
        size: u64,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let session = self.repository.session();
        let place = session.place();
        let mut url = self.location;
        url.push_parameter("digest", digest.as_str());
        let say = |e: Error| Error::NoToken { request: wording(&Method::PUT, &url), source: Box::new(e) };
        let mut call = Call::new(Method::PUT, url.clone());
        // The location may be at a storage service, which is not told who we are.
        if url.origin == place.base.origin
            && let Some(grant) = place.auth.grant(&session.transport, &place.base, None).await.map_err(say)?
        {
            call.headers.insert(header::AUTHORIZATION, grant.header);
        }
        call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.headers.insert(header::CONTENT_LENGTH, size.into());
        let sent = Arc::new(AtomicU64::new(0));
        if size > 0 {
            call.payload = payload(body, sent.clone());
        }
        call.sent = Some(sent);
        let answer = session.exchange(place, call).await?;
        if !answer.status.is_success() {
            return Err(refuse(answer, None).await);
        }
        answer.body.beginning().await;
        Ok(())
    }
}

/// A body whose progress can be watched. One of another length than announced is cut off or never complete; the
/// registry refuses both.
fn payload(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static, sent: Arc<AtomicU64>) -> Payload {
    let frames = body.map(move |bytes| {
        let bytes = bytes.map_err(SourceFailed)?;
        sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(Frame::data(bytes))
    });
    StreamBody::new(frames).boxed_unsync()
}
