//! Registries that lie, stall, and send people around.

mod support;

use gantry_model::Reference;
use gantry_registry_client::{Access, Client, Config, Credentials, Error, Which};
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Server, digest, read, refusal, reply};

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

#[tokio::test]
async fn bodies_that_are_not_what_was_announced() {
    for head in ["content-length: 100\r\n", "transfer-encoding: chunked\r\n"] {
        let body = if head.starts_with('t') { "10\r\nabc" } else { "abc" };
        let server = Server::raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into_bytes()).await;
        let repository = server.anonymous();
        let body = repository.blob(&digest(b""), 0, None).await.unwrap();
        let error = read(body).await.unwrap_err();
        assert!(error.is_transient() && error.to_string().ends_with("unexpected EOF"), "{error}");
    }
    // A part in chunks can be longer or shorter than the part it says it is.
    for (body, transient) in [("3\r\nabc\r\n0\r\n\r\n", true), ("5\r\nabcde\r\n0\r\n\r\n", false)] {
        let head = "HTTP/1.1 206 OK\r\ncontent-range: bytes 2-5/9\r\ntransfer-encoding: chunked\r\n\r\n";
        let server = Server::raw(format!("{head}{body}").into_bytes()).await;
        let body = server.anonymous().blob(&digest(b""), 2, Some(6)).await.unwrap();
        assert_eq!(read(body).await.unwrap_err().is_transient(), transient);
    }
}

#[tokio::test]
async fn parts_that_nobody_asked_for() {
    for range in ["", "bytes 0-3/9", "bytes 2-6/9", "bytes 5-2/9", "bytes 2-5/4", "lines 2-5/9", "bytes */9"] {
        let server = Server::new(move |_| reply(206, &[("content-range", range)], "abcd")).await;
        let result = server.anonymous().blob(&digest(b""), 2, Some(6)).await;
        assert!(matches!(result, Err(Error::Protocol(_))), "{range}: {result:?}");
    }
    let server = Server::new(|_| reply(200, &[("content-encoding", "gzip")], "abcd")).await;
    assert!(matches!(server.anonymous().blob(&digest(b""), 0, None).await, Err(Error::Protocol(_))));
}

#[tokio::test]
async fn answers_that_are_no_http() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1000));
    for bytes in [huge, many, "HELLO\r\n\r\n".to_owned(), "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n".to_owned()] {
        let server = Server::raw(bytes.clone().into_bytes()).await;
        let error = server.anonymous().blob(&digest(b""), 0, None).await.unwrap_err();
        let words = error.to_string();
        assert!(words.contains("transport connection broken") && !error.is_transient(), "{words}");
    }
}

#[tokio::test]
async fn redirects() {
    let endless = AtomicUsize::new(0);
    let server =
        Server::new(move |_| reply(302, &[("location", &format!("/{}", endless.fetch_add(1, Ordering::SeqCst)))], ""))
            .await;
    let error = server.anonymous().blob(&digest(b""), 0, None).await.unwrap_err().to_string();
    assert!(error.ends_with("stopped after 10 redirects"), "{error}");
    assert_eq!(server.seen().len(), 11);
    for (location, words) in [
        ("?", "redirect loop"),
        ("file:///etc/passwd", "invalid URL"),
        ("http://", "invalid URL"),
        (&"x".repeat(20_000), "invalid URL"),
    ] {
        let location = location.to_owned();
        let server = Server::new(move |seen| match location.as_str() {
            "?" => reply(302, &[("location", &seen.target)], ""),
            location => reply(302, &[("location", location)], ""),
        })
        .await;
        let error = server.anonymous().manifest(Which::Tag("x")).await.unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }) && error.to_string().contains(words), "{error}");
        assert!(error.to_string().len() < 1000);
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn manifests_that_are_others() {
    let body = r#"{"schemaVersion":2,"layers":[]}"#;
    let wrong = digest(b"something else");
    let claimed = wrong.to_string();
    let server =
        Server::new(move |_| reply(200, &[("content-type", OCI), ("docker-content-digest", &claimed)], body)).await;
    for which in [Which::Tag("x"), Which::Digest(&wrong)] {
        let error = server.anonymous().manifest(which).await.unwrap_err();
        assert_eq!(error.to_string(), format!("manifest verification failed for digest {wrong}"));
    }
    let huge = Server::new(|_| reply(200, &[("content-type", OCI)], vec![b' '; 5 << 20])).await;
    assert!(matches!(huge.anonymous().manifest(Which::Tag("x")).await, Err(Error::TooLarge(_))));
}

#[tokio::test]
async fn tags_without_end() {
    let page = |link: &str| reply(200, &[("link", link)], r#"{"tags":["x"]}"#);
    let pages = AtomicUsize::new(0);
    let endless = Server::new(move |_| {
        page(&format!(r#"</v2/a/b/tags/list?last={}>; rel="next""#, pages.fetch_add(1, Ordering::SeqCst)))
    })
    .await;
    assert!(matches!(endless.anonymous().tags().await, Err(Error::TooLarge(_))));
    for (link, words) in [
        ("</v2/a/b/tags/list>; rel=next", "circle"),
        ("<http://elsewhere.invalid/>; rel=next", "another host"),
        ("<ftp://x>; rel=next", "invalid URL"),
    ] {
        let server = Server::new(move |_| page(link)).await;
        let error = server.anonymous().tags().await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    for (body, words) in
        [(r#"{"tags":["../x"]}"#, "invalid tag"), ("[", "cannot be read"), (r#"{"tags":[1]}"#, "cannot be read")]
    {
        let server = Server::new(move |_| reply(200, &[], body)).await;
        let error = server.anonymous().tags().await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[tokio::test]
async fn refusals_are_worded_as_docker_words_them() {
    for (status, body, expected) in [
        (
            404,
            "<html>no</html>",
            r#"error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: "<html>no</html>""#,
        ),
        (404, "", r#"error parsing HTTP 404 response body: unexpected end of JSON input: """#),
        (
            404,
            r#"{"errors":[]}"#,
            r#"error parsing HTTP 404 response body: no error details found in HTTP response body: "{\"errors\":[]}""#,
        ),
        (400, r#"{"details":"so what"}"#, "unknown: so what"),
        (401, "nope", "unauthorized: authentication required"),
        (500, "boo", "received unexpected HTTP status: 500 Internal Server Error"),
    ] {
        let server = Server::new(move |_| reply(status, &[], body)).await;
        let error = server.anonymous().blob(&digest(b""), 0, None).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.status(), Some(status));
    }
    let long = "x".repeat(50_000);
    let server = Server::new(move |_| refusal(404, "UNKNOWN", &long, &[])).await;
    assert!(server.anonymous().blob(&digest(b""), 0, None).await.unwrap_err().to_string().len() < 500);
}

#[tokio::test]
async fn a_lost_connection_is_tried_again() {
    let server = Server::raw(Vec::new()).await;
    // Greets with nothing: TLS and HTTP both end at once, some times.
    let started = std::time::Instant::now();
    let error = server.anonymous().manifest(Which::Tag("x")).await.unwrap_err();
    assert!(error.is_transient() && started.elapsed().as_millis() > 500, "{error} {:?}", started.elapsed());
}

#[tokio::test]
async fn nobody_there() {
    let client = Client::new(Config::default());
    let repository = |name: &str| {
        client.repository(&Reference::parse(name).unwrap(), &Credentials::default(), Access::Pull).unwrap()
    };
    let error = repository("127.0.0.1:1/x").manifest(Which::Tag("x")).await.unwrap_err();
    let expected = r#"Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused"#;
    assert_eq!(error.to_string(), expected);
    assert!(error.is_transient());
    let error = repository("nobody.invalid/x").manifest(Which::Tag("x")).await.unwrap_err();
    assert_eq!(error.to_string(), r#"Get "https://nobody.invalid/v2/": dial tcp: lookup nobody.invalid: no such host"#);
}
