//! A registry that behaves.

mod support;

use bytes::Bytes;
use gantry_registry_client::{Access, Client, Config, Credentials, Error, Mount, Which};
use http::header;
use support::{Server, digest, pieces, read, refusal, reply};

const MANIFEST: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const BLOB: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

#[tokio::test]
async fn manifests_by_tag_and_digest() {
    let right = digest(MANIFEST.as_bytes());
    let claimed = right.to_string();
    let server = Server::new(move |seen| match seen.target.as_str() {
        "/v2/a/b/manifests/gone" => refusal(404, "MANIFEST_UNKNOWN", "manifest unknown", &[]),
        _ => reply(200, &[("content-type", OCI), ("docker-content-digest", &claimed)], MANIFEST),
    })
    .await;
    let repository = server.anonymous();
    for which in [Which::Tag("x"), Which::Digest(&right)] {
        let manifest = repository.manifest(which).await.unwrap();
        assert_eq!((manifest.media_type.as_str(), &manifest.digest), (OCI, &right));
        let head = repository.manifest_head(which).await.unwrap().unwrap();
        assert_eq!((head.digest.as_ref(), head.size), (Some(&right), MANIFEST.len() as u64));
    }
    assert!(repository.manifest_head(Which::Tag("gone")).await.unwrap().is_none());
    let error = gantry_model::Error::from(repository.manifest(Which::Tag("gone")).await.unwrap_err());
    let name = server.reference().familiar_name();
    assert_eq!(error.message(), format!("manifest for {name}:gone not found: manifest unknown: manifest unknown"));
    assert_eq!(error.kind(), gantry_model::ErrorKind::NotFound);
    assert!(server.seen()[0].header(header::ACCEPT).contains(OCI));
}

#[tokio::test]
async fn kinds_of_manifests() {
    let list = r#"{"schemaVersion":2,"manifests":[]}"#;
    let index = "application/vnd.oci.image.index.v1+json";
    for (content_type, body, expected) in [
        ("application/json", MANIFEST, Ok(OCI)),
        ("text/plain; charset=utf-8", list, Ok(index)),
        (index, list, Ok(index)),
        (OCI, list, Err("it is not what")),
        (OCI, r#"{"schemaVersion":2,"mediaType":"x/y","layers":[]}"#, Err("mediaType in manifest should be")),
        (OCI, r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#, Err("at once")),
        (OCI, "no JSON", Err("cannot be read")),
        ("application/x-foo", "no JSON", Err("unsupported manifest media type \"application/x-foo\"")),
        ("application/x-foo", MANIFEST, Err("unsupported manifest media type \"application/x-foo\"")),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}", Err("schema version 1")),
        ("application/json", r#"{"schemaVersion":1}"#, Err("schema version 1")),
    ] {
        let server = Server::new(move |_| reply(200, &[("content-type", content_type)], body)).await;
        match (server.anonymous().manifest(Which::Tag("x")).await, expected) {
            (Ok(manifest), Ok(kind)) => assert_eq!(manifest.media_type, kind),
            (Err(e), Err(words)) => assert!(e.to_string().contains(words), "{e}"),
            (result, _) => panic!("{content_type} {body}: {result:?}"),
        }
    }
}

/// A blob server that knows ranges of the form `a-` and `a-b`.
async fn blobs() -> Server {
    Server::new(|seen| {
        let Some(range) = seen.header(header::RANGE).strip_prefix("bytes=") else {
            return reply(200, &[("accept-ranges", "bytes")], BLOB);
        };
        let (first, last) = range.split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        let last = last.parse().unwrap_or(BLOB.len() - 1).min(BLOB.len() - 1);
        if first >= BLOB.len() {
            return reply(416, &[("content-range", &format!("bytes */{}", BLOB.len()))], "");
        }
        let range = format!("bytes {first}-{last}/{}", BLOB.len());
        reply(206, &[("content-range", &range)], &BLOB[first..=last])
    })
    .await
}

#[tokio::test]
async fn ranges_of_blobs() {
    let server = blobs().await;
    let (repository, name) = (server.anonymous(), digest(BLOB));
    for (from, to, expected) in
        [(0, None, BLOB), (5, None, &BLOB[5..]), (5, Some(9), &BLOB[5..9]), (0, Some(1), &BLOB[..1])]
    {
        let body = repository.blob(&name, from, to).await.unwrap();
        assert_eq!((body.start, body.total, body.ranged), (from, Some(BLOB.len() as u64), true));
        assert_eq!(read(body).await.unwrap(), expected);
    }
    assert!(matches!(repository.blob(&name, 36, None).await, Err(Error::Range { total: Some(36) })));
    assert!(matches!(repository.blob(&name, 5, Some(5)).await, Err(Error::Invalid(_))));
    assert_eq!(repository.blob_size(&name).await.unwrap(), Some(BLOB.len() as u64));
}

#[tokio::test]
async fn a_registry_without_ranges_sends_the_whole() {
    let server = Server::new(|_| reply(200, &[("accept-ranges", "bytes")], BLOB)).await;
    let body = server.anonymous().blob(&digest(BLOB), 9, None).await.unwrap();
    assert_eq!((body.start, body.ranged), (0, false));
    assert_eq!(read(body).await.unwrap(), BLOB);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let connections = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = connections.clone();
    let server = Server::over(
        move |tcp| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async { Some(tcp) }
        },
        |_| reply(200, &[], BLOB),
    )
    .await;
    let repository = server.anonymous();
    for _ in 0..5 {
        read(repository.blob(&digest(BLOB), 0, None).await.unwrap()).await.unwrap();
    }
    // The first was greeted with TLS, which this server does not speak.
    assert_eq!(connections.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_registry_without_tls_is_remembered_until_it_changes() {
    let client = Client::new(Config::default());
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (connections, switch) = (std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)), broken.clone());
    let counter = connections.clone();
    let server = Server::over(
        move |tcp| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async { Some(tcp) }
        },
        move |_| {
            let status = if switch.load(std::sync::atomic::Ordering::SeqCst) { 400 } else { 200 };
            reply(status, &[("connection", "close")], BLOB)
        },
    )
    .await;
    let ask = || async {
        let nobody = Credentials::default();
        let repository = client.repository(&server.reference(), &nobody, Access::Pull).unwrap();
        let result = repository.blob(&digest(BLOB), 0, None).await.map(drop);
        (result, connections.swap(0, std::sync::atomic::Ordering::SeqCst))
    };
    assert!(matches!(ask().await, (Ok(()), 2)), "with TLS first");
    assert!(matches!(ask().await, (Ok(()), 1)), "then at once without");
    // What a server with TLS answers to plain HTTP.
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    let (result, tried) = ask().await;
    assert!(result.unwrap_err().to_string().starts_with("Get \"https://") && tried == 2);
}

#[tokio::test]
async fn tags_of_all_pages() {
    let server = Server::new(|seen| match seen.target.as_str() {
        "/v2/a/b/tags/list" => reply(
            200,
            &[("link", r#"</v2/a/b/tags/list?last=y&n=2>; rel="next""#)],
            r#"{"name":"a/b","tags":["x","y"]}"#,
        ),
        "/v2/a/b/tags/list?last=y&n=2" => reply(200, &[], r#"{"tags":["z"]}"#),
        _ => reply(404, &[], ""),
    })
    .await;
    assert_eq!(server.anonymous().tags().await.unwrap(), ["x", "y", "z"]);
    let empty = Server::new(|_| reply(200, &[], r#"{"name":"a/b","tags":null}"#)).await;
    assert!(empty.anonymous().tags().await.unwrap().is_empty());
}

#[tokio::test]
async fn uploads() {
    for location in ["/v2/a/b/blobs/uploads/1?state=s", "1?state=s", "http://{host}/v2/a/b/blobs/uploads/1?state=s"] {
        let server = Server::new(move |seen| match seen.method.as_str() {
            "POST" => {
                let location = location.replace("{host}", seen.header(header::HOST));
                reply(202, &[("location", &location)], "")
            }
            "PUT" => reply(201, &[], ""),
            _ => reply(405, &[], ""),
        })
        .await;
        let repository = server.repository(&Credentials::default(), Access::Push);
        let upload = repository.start_upload().await.unwrap();
        upload.send(&digest(BLOB), BLOB.len() as u64, pieces(BLOB)).await.unwrap();
        let seen = server.seen();
        assert_eq!(seen[0].header(header::CONTENT_LENGTH), "0", "some servers insist on a length");
        let put = seen.last().unwrap();
        let digest = digest(BLOB).to_string().replace(':', "%3A");
        assert_eq!(put.target, format!("/v2/a/b/blobs/uploads/1?state=s&digest={digest}"));
        assert_eq!((&put.body[..], put.header(header::CONTENT_LENGTH)), (BLOB, "36"));
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_completed_fails() {
    let server = Server::new(|seen| match seen.method.as_str() {
        "POST" => reply(202, &[("location", "/u")], ""),
        _ => reply(201, &[], ""),
    })
    .await;
    let repository = server.repository(&Credentials::default(), Access::Push);
    let upload = repository.start_upload().await.unwrap();
    assert!(upload.send(&digest(BLOB), 37, pieces(BLOB)).await.is_err());
    let broken =
        futures_util::stream::iter([Ok(Bytes::from_static(b"x")), Err(std::io::Error::other("the disk is gone"))]);
    let error = repository.start_upload().await.unwrap().send(&digest(BLOB), 36, broken).await.unwrap_err();
    assert!(error.to_string().ends_with("the disk is gone") && !error.is_transient(), "{error}");
}

#[tokio::test]
async fn mounts() {
    let server = Server::new(|seen| {
        if seen.target.ends_with("&from=here") {
            reply(201, &[("location", "/v2/a/b/blobs/x")], "")
        } else if seen.target.ends_with("&from=secret") {
            refusal(403, "DENIED", "no", &[])
        } else {
            reply(202, &[("location", "/u")], "")
        }
    })
    .await;
    let repository = server.repository(&Credentials::default(), Access::Push);
    let name = digest(BLOB);
    assert!(matches!(repository.mount_blob(&name, "here").await, Ok(Mount::Mounted)));
    for elsewhere in ["secret", "other"] {
        assert!(matches!(repository.mount_blob(&name, elsewhere).await, Ok(Mount::Upload(_))), "{elsewhere}");
    }
}

#[tokio::test]
async fn puts_manifests() {
    let server = Server::new(|_| reply(201, &[("docker-content-digest", "nonsense")], "")).await;
    let repository = server.repository(&Credentials::default(), Access::Push);
    let put = repository.put_manifest(Which::Tag("x"), OCI, Bytes::from_static(MANIFEST.as_bytes())).await;
    assert_eq!(put.unwrap(), digest(MANIFEST.as_bytes()));
    let seen = server.seen().pop().unwrap();
    assert_eq!((seen.header(header::CONTENT_TYPE), &seen.body[..]), (OCI, MANIFEST.as_bytes()));
}

#[tokio::test]
async fn waits_when_asked_to() {
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::new(move |_| match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => refusal(429, "TOOMANYREQUESTS", "slow down", &[("retry-after", "0")]),
        1 => reply(503, &[], ""),
        _ => reply(200, &[("content-type", OCI)], MANIFEST),
    })
    .await;
    server.anonymous().manifest(Which::Tag("x")).await.unwrap();
    assert_eq!(server.seen().len(), 3);
    let busy = Server::new(|_| refusal(429, "TOOMANYREQUESTS", "come tomorrow", &[("retry-after", "86400")])).await;
    let error = busy.anonymous().manifest(Which::Tag("x")).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), busy.seen().len()), ("toomanyrequests: come tomorrow", 1));
    assert_eq!(error.retry_after().unwrap().as_secs(), 86400);
    assert!(error.is_transient());
    // A blob is one attempt.
    let down = Server::new(|_| reply(503, &[], "")).await;
    let error = down.anonymous().blob(&digest(BLOB), 0, None).await.unwrap_err();
    assert_eq!(error.to_string(), "received unexpected HTTP status: 503 Service Unavailable");
    assert_eq!(down.seen().len(), 1);
}

#[tokio::test]
async fn searches() {
    let server = Server::new(|seen| match seen.target.as_str() {
        "/v1/search?q=a%20b&n=2" => reply(
            200,
            &[],
            r#"{"results":[{"name":"x","description":null,"star_count":3,"is_official":true},{"name":"y"},{"name":"z"}]}"#,
        ),
        "/v1/search?q=bad&n=2" => reply(200, &[], "oops"),
        _ => reply(500, &[], ""),
    })
    .await;
    let index = format!("http://{}/v1/", server.address);
    let client = Client::new(Config { index, ..Config::default() });
    let nobody = Credentials::default();
    let found = client.search("library/a b", 2, &nobody).await.unwrap();
    assert_eq!(found.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!((found[0].star_count, found[0].is_official, found[0].description.as_str()), (3, true, ""));
    let term = format!("{}/a b", server.address);
    assert_eq!(client.search(&term, 2, &nobody).await.unwrap(), found);
    let words = |error: Error| error.to_string();
    assert!(words(client.search("bad", 2, &nobody).await.unwrap_err()).starts_with("error decoding registry search"));
    assert!(matches!(client.search("http://x/y", 2, &nobody).await, Err(Error::Invalid(_))));
}
