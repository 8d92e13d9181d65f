//! Manifests.

use crate::{
    Error, Repository, Result,
    session::{Request, Target},
    transport::{Answer, url::shortened},
};
use bytes::Bytes;
use gantry_model::Digest;
use http::{HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::fmt::Write as _;

/// As large as registries themselves take.
const MAX_MANIFEST: usize = 4 << 20;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What is understood, the indexes first.
const UNDERSTOOD: [&str; 4] = [DOCKER_LIST, OCI_INDEX, DOCKER_MANIFEST, OCI_MANIFEST];

/// What servers say that do not know what they have.
const MEANINGLESS: [&str; 4] = ["", "application/json", "application/octet-stream", "text/plain"];

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// How a manifest is asked for, or what it is stored as.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// By tag.
    Tag(&'a str),
    /// By digest.
    Digest(&'a Digest),
}

/// A manifest or an index of manifests, as the registry has it.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Its media type; one of the four that Docker and OCI have.
    pub media_type: String,
    /// Its digest; computed, and compared with what was asked for and what the registry claims.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What a registry says of a manifest without sending it.
#[derive(Debug, Clone)]
pub struct Head {
    /// The digest that the registry claims.
    pub digest: Option<Digest>,
    /// The media type.
    pub media_type: String,
    /// The size in bytes.
    pub size: u64,
}

/// What says of which kind a manifest is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline<'a> {
    #[serde(default)]
    schema_version: i64,
    #[serde(default, borrow)]
    media_type: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    manifests: Option<&'a serde_json::value::RawValue>,
    #[serde(default, borrow)]
    layers: Option<&'a serde_json::value::RawValue>,
    #[serde(default, borrow)]
    config: Option<&'a serde_json::value::RawValue>,
}

impl Which<'_> {
    fn text(&self) -> &str {
        match self {
            Which::Tag(tag) => tag,
            Which::Digest(digest) => digest.as_str(),
        }
    }
}

impl Repository {
    /// Fetches a manifest.
    pub async fn manifest(&self, which: Which<'_>) -> Result<Manifest> {
        let answer = self.get(&self.manifest_request(Method::GET, which), Some(self.manifest_wanted(which))).await?;
        let (claimed, declared) = (content_digest(&answer), media_type(&answer));
        let url = answer.url.clone();
        let bytes = answer.body.collect(MAX_MANIFEST).await.map_err(|failure| Self::broken(&url, failure))?;
        let bytes = bytes
            .ok_or_else(|| Error::TooLarge(format!("the manifest at {url} is larger than {MAX_MANIFEST} bytes")))?;
        let expected = match which {
            Which::Digest(digest) => Some(digest.clone()),
            Which::Tag(_) => claimed,
        };
        let digest = verified(&bytes, expected)?;
        let media_type = self.kind(&bytes, declared, which)?;
        Ok(Manifest { media_type, digest, bytes })
    }

    /// Asks about a manifest.
    pub async fn manifest_head(&self, which: Which<'_>) -> Result<Option<Head>> {
        let mut request = self.manifest_request(Method::HEAD, which);
        let Some(answer) = self.head(&mut request, Some(self.manifest_wanted(which))).await? else {
            return Ok(None);
        };
        let size = answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0);
        Ok(Some(Head { digest: content_digest(&answer), media_type: media_type(&answer), size }))
    }

    /// Stores a manifest; returns its digest.
    pub async fn put_manifest(&self, which: Which<'_>, media_type: &str, bytes: Bytes) -> Result<Digest> {
        let content_type = HeaderValue::try_from(media_type).map_err(|_| Error::MediaType(media_type.to_owned()))?;
        let mut request = self.manifest_request(Method::PUT, which);
        request.headers.clear();
        request.headers.insert(header::CONTENT_TYPE, content_type);
        request.content = bytes.clone();
        let answer = self.get(&request, None).await?;
        let claimed = content_digest(&answer);
        answer.body.beginning().await;
        let expected = match which {
            Which::Digest(digest) => Some(digest.clone()),
            Which::Tag(_) => claimed,
        };
        verified(&bytes, expected)
    }

    fn manifest_request(&self, method: Method, which: Which<'_>) -> Request<'static> {
        let target: Target = self.target(&format!("manifests/{}", which.text()));
        let mut request = Request::new(method, target);
        request.headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        request.verified = matches!(which, Which::Digest(_));
        request
    }

    fn manifest_wanted(&self, which: Which<'_>) -> (String, String) {
        let separator = if matches!(which, Which::Tag(_)) { ':' } else { '@' };
        self.wanted(separator, which.text())
    }

    /// Decides what a manifest is. What the header says and what the manifest says of itself have to agree, and it
    /// cannot be two things: else two readers see two images under one digest (CVE-2021-41190).
    fn kind(&self, bytes: &[u8], declared: String, which: Which<'_>) -> Result<String> {
        let schema1 = || Error::Schema1(format!("{}:{}", self.familiar(), which.text()));
        if declared.starts_with("application/vnd.docker.distribution.manifest.v1") {
            return Err(schema1());
        }
        let unreadable = |e: &dyn std::fmt::Display| {
            Error::Protocol(format!("the manifest of {} cannot be read: {e}", self.familiar()))
        };
        let outline: Outline<'_> = match serde_json::from_slice(bytes) {
            Ok(outline) => outline,
            Err(_) if !MEANINGLESS.contains(&declared.as_str()) && !UNDERSTOOD.contains(&declared.as_str()) => {
                return Err(Error::MediaType(declared));
            }
            Err(e) => return Err(unreadable(&e)),
        };
        if outline.schema_version == 1 {
            return Err(schema1());
        }
        let is_index = outline.manifests.is_some();
        if is_index && (outline.layers.is_some() || outline.config.is_some()) {
            return Err(unreadable(&"it is an image and an index at once"));
        }
        let own = outline.media_type.as_deref().unwrap_or_default();
        let kind = match (declared.as_str(), own) {
            (declared, "") if !MEANINGLESS.contains(&declared) => declared,
            (declared, "") if MEANINGLESS.contains(&declared) && is_index => OCI_INDEX,
            (declared, "") if MEANINGLESS.contains(&declared) => OCI_MANIFEST,
            (declared, own) if MEANINGLESS.contains(&declared) || declared == own => own,
            (declared, own) => {
                let own = shortened(own);
                return Err(unreadable(&format!("mediaType in manifest should be '{declared}' not '{own}'")));
            }
        };
        if !UNDERSTOOD.contains(&kind) {
            return Err(Error::MediaType(shortened(kind).to_owned()));
        }
        if is_index != [DOCKER_LIST, OCI_INDEX].contains(&kind) {
            return Err(unreadable(&format!("it is not what a {kind} is")));
        }
        Ok(kind.to_owned())
    }
}

const ACCEPT: &str = "application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5, \
                      application/json;q=0.3";

fn content_digest(answer: &Answer) -> Option<Digest> {
    answer.header(CONTENT_DIGEST)?.parse().ok()
}

fn media_type(answer: &Answer) -> String {
    let text = answer.header(header::CONTENT_TYPE).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The digest of `bytes`, which has to be the expected one.
fn verified(bytes: &[u8], expected: Option<Digest>) -> Result<Digest> {
    let Some(expected) = expected else {
        return Ok(Digest::sha256(Sha256::digest(bytes).into()));
    };
    let hash: Vec<u8> = match expected.algorithm() {
        "sha384" => Sha384::digest(bytes).to_vec(),
        "sha512" => Sha512::digest(bytes).to_vec(),
        _ => Sha256::digest(bytes).to_vec(),
    };
    let hex = hash.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    if hex == expected.hex() { Ok(expected) } else { Err(Error::WrongDigest { expected }) }
}
