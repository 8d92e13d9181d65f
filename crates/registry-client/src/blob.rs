//! Blobs on their way here.

use crate::{
    Client, Error, Repository, Result,
    auth::Authenticator,
    headers,
    refuse::refuse,
    session::{Place, Request, Session, Target},
    transport::{Answer, Body, Failure, Transport, Url},
};
use bytes::Bytes;
use gantry_model::Digest;
use http::{HeaderValue, Method, StatusCode, header};
use std::sync::Arc;

/// The body of a blob, or of a part of it, as it arrives.
#[derive(Debug)]
pub struct BlobBody {
    /// The offset in the blob of the first byte that comes. Not what was asked for, if the registry knows no ranges.
    pub start: u64,
    /// The size of the whole blob, if the registry says.
    pub total: Option<u64>,
    /// Whether the registry understands ranges.
    pub ranged: bool,
    /// When it was changed last, in seconds since the epoch, if the server says.
    pub modified: Option<i64>,
    body: Body,
    url: Url,
    /// What has still to come, if that is known.
    missing: Option<u64>,
}

impl BlobBody {
    /// The next bytes; `None` after the last, if the registry sent as many as it promised.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = self.body.next().await.map_err(|failure| Repository::broken(&self.url, failure))?;
        let arrived = next.as_ref().map_or(0, |bytes| bytes.len() as u64);
        if let Some(missing) = &mut self.missing {
            *missing = missing
                .checked_sub(arrived)
                .ok_or_else(|| Error::Protocol(format!("{} sent more than it announced", self.url)))?;
            if next.is_none() && *missing > 0 {
                return Err(Repository::broken(&self.url, Failure::Lost("unexpected EOF".to_owned())));
            }
        }
        Ok(next)
    }

    /// Understands what came in answer to the wish for the bytes from `from` up to before `to`.
    async fn open(answer: Answer, from: u64, to: Option<u64>) -> Result<Self> {
        let wrong = |why: String| Error::Protocol(format!("{}: {why}", answer.url));
        let range = answer.header(header::CONTENT_RANGE).and_then(headers::content_range);
        if let Some(encoding) = answer.header(header::CONTENT_ENCODING)
            && !encoding.eq_ignore_ascii_case("identity")
        {
            return Err(wrong(format!("the blob came encoded as {encoding:?}")));
        }
        let length = answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let (start, total, ranged, missing) = match answer.status {
            StatusCode::OK => {
                let ranged = answer.header(header::ACCEPT_RANGES).is_some_and(|units| units.trim() == "bytes");
                // Who answers a range with the whole does not understand ranges, whatever it says.
                (0, length, ranged && from == 0 && to.is_none(), length)
            }
            StatusCode::PARTIAL_CONTENT => {
                let Some((range, (first, last))) = range.and_then(|range| Some((range, range.range?))) else {
                    return Err(wrong("a part came without saying which".to_owned()));
                };
                if first != from || to.is_some_and(|to| last >= to) {
                    return Err(wrong(format!("the bytes {first}-{last} came, which nobody asked for")));
                }
                (first, range.total, true, Some(last - first + 1))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                return Err(Error::Range { total: range.and_then(|range| range.total) });
            }
            status if status.is_success() => return Err(wrong(format!("received unexpected HTTP status: {status}"))),
            _ => return Err(refuse(answer, None).await),
        };
        let modified = answer.header(header::LAST_MODIFIED).and_then(headers::date);
        Ok(Self { start, total, ranged, modified, body: answer.body, url: answer.url, missing })
    }
}

/// A `GET` that is one attempt, because the reader goes on from where it broke.
fn request(target: Target, from: u64, to: Option<u64>) -> Result<Request<'static>> {
    let mut request = Request::new(Method::GET, target);
    (request.again, request.verified) = (false, true);
    request.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let range = match to {
        Some(to) if to <= from => return Err(Error::Invalid(format!("an empty range of bytes: {from} to {to}"))),
        Some(to) => format!("bytes={from}-{}", to - 1),
        None if from > 0 => format!("bytes={from}-"),
        None => return Ok(request),
    };
    let range = HeaderValue::try_from(range).map_err(|e| Error::Invalid(e.to_string()))?;
    request.headers.insert(header::RANGE, range);
    Ok(request)
}

/// Opens what is at a URL that anybody may read.
async fn elsewhere(transport: Arc<Transport>, url: &str, from: u64, to: Option<u64>) -> Result<BlobBody> {
    let url = Url::parse(url).map_err(Error::Invalid)?;
    let place = Place::new(url.with_target("/"), false, Authenticator::for_strangers());
    let session = Session::new(transport, vec![place], "/");
    let request = request(Target::Url(url), from, to)?;
    BlobBody::open(session.ask(&request).await?, from, to).await
}

impl Client {
    /// Opens a file of any web server, with the proxies and the redirects of registries.
    pub async fn file(&self, url: &str) -> Result<BlobBody> {
        elsewhere(self.setup().transport.clone(), url, 0, None).await
    }
}

impl Repository {
    /// Opens a blob at `from`, up to before `to`.
    pub async fn blob(&self, digest: &Digest, from: u64, to: Option<u64>) -> Result<BlobBody> {
        let request = request(self.target(&format!("blobs/{digest}")), from, to)?;
        BlobBody::open(self.ask(&request).await?, from, to).await
    }

    /// Opens a blob that is elsewhere at `from`, up to before `to`. No credentials go there.
    pub async fn foreign_blob(&self, url: &str, from: u64, to: Option<u64>) -> Result<BlobBody> {
        elsewhere(self.session().transport.clone(), url, from, to).await
    }

    /// The size of a blob that the registry has.
    pub async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let mut request = Request::new(Method::HEAD, self.target(&format!("blobs/{digest}")));
        request.verified = true;
        let Some(answer) = self.head(&mut request, None).await? else {
            return Ok(None);
        };
        Ok(answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()))
    }
}
