//! The connection against a fake service, over an in-memory stream.

use super::*;
use crate::respond;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::oneshot;

/// Answers with the method, target and body; `/take/` hands the connection to an upper-casing echo.
struct Echo;

struct UpperCase;

/// Tells when it is dropped.
struct DropFlag(Option<oneshot::Sender<()>>);

impl Drop for DropFlag {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            let _ = told.send(());
        }
    }
}

/// Answers without an end, or not at all, until the client goes away.
struct Endless(Mutex<Option<DropFlag>>);

impl Service for Endless {
    type Session = UpperCase;

    fn takes_over(_: &str, _: &str) -> bool {
        false
    }

    async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let flag = self.0.lock().unwrap().take();
        if request.uri().path() == "/silent" {
            std::future::pending::<()>().await;
        }
        let pieces = futures_util::stream::once(async move {
            let _flag = flag;
            std::future::pending().await
        });
        Response::new(crate::stream::body(pieces))
    }

    async fn take_over(&self, _: Request<Bytes>) -> Answer<UpperCase> {
        Answer::Respond(Response::new(respond::full("")))
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_answer() {
    for path in ["/silent", "/endless"] {
        let (told, dropped) = oneshot::channel();
        let (mut client, server) = duplex(1024);
        let service = Endless(Mutex::new(Some(DropFlag(Some(told)))));
        let served = tokio::spawn(async move {
            let (_stop, stopped) = watch::channel(false);
            serve(server, &service, stopped).await;
        });
        client.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        if path == "/endless" {
            let mut head = [0; 15];
            client.read_exact(&mut head).await.unwrap();
        } else {
            tokio::task::yield_now().await;
        }
        drop(client);
        dropped.await.unwrap();
        served.await.unwrap();
    }
}

impl Session for UpperCase {
    async fn run<C: AsyncRead + AsyncWrite + Unpin + Send>(self, mut client: C, _: HangUp) {
        let mut text = Vec::new();
        // Ends when the client closes its side; the answer must still arrive then.
        client.read_to_end(&mut text).await.unwrap();
        client.write_all(&text.to_ascii_uppercase()).await.unwrap();
    }
}

fn describe(method: &Method, uri: &http::Uri, body: &[u8]) -> Response<Body> {
    let text = format!("{method} {uri} {}", String::from_utf8_lossy(body));
    Response::new(respond::full(text))
}

impl Service for Echo {
    type Session = UpperCase;

    fn takes_over(method: &str, path: &str) -> bool {
        method == "POST" && path.starts_with("/take/")
    }

    async fn call(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        if parts.uri.path() == "/slow" {
            tokio::task::yield_now().await;
        }
        describe(&parts.method, &parts.uri, &body)
    }

    async fn take_over(&self, request: Request<Bytes>) -> Answer<UpperCase> {
        if request.uri().path() == "/take/not" {
            let mut response = describe(request.method(), request.uri(), request.body());
            *response.status_mut() = StatusCode::CONFLICT;
            return Answer::Respond(response);
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-body", request.body().len().into());
        let upgrade = request.headers().contains_key(http::header::UPGRADE);
        let content_type = "application/vnd.docker.raw-stream";
        let switch = if upgrade { Switch::Upgrade { content_type } } else { Switch::Raw { content_type } };
        Answer::Take { switch, headers, session: UpperCase }
    }
}

fn start(buffer: usize) -> DuplexStream {
    let (client, server) = duplex(buffer);
    tokio::spawn(async move {
        let (_stop, stopped) = watch::channel(false);
        serve(server, &Echo, stopped).await;
    });
    client
}

/// Sends `bytes` in pieces, closes the sending side when told so, and reads to the end.
async fn exchange(bytes: &[u8], piece: usize, half_close: bool) -> String {
    let client = start(64 * 1024);
    let (mut read, mut write) = tokio::io::split(client);
    let bytes = bytes.to_vec();
    let sender = tokio::spawn(async move {
        for part in bytes.chunks(piece) {
            if write.write_all(part).await.is_err() {
                return write;
            }
            tokio::task::yield_now().await;
        }
        if half_close {
            write.shutdown().await.unwrap();
        }
        write
    });
    let mut answer = Vec::new();
    read.read_to_end(&mut answer).await.unwrap();
    drop(sender.await.unwrap());
    String::from_utf8(answer).unwrap()
}

/// The bodies of the answers, whose heads all carry a length.
fn bodies(mut text: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let Some(length) = length else {
            bodies.push(rest.to_owned());
            break;
        };
        let (body, next) = rest.split_at(length);
        bodies.push(body.to_owned());
        text = next;
    }
    bodies
}

/// Answers when it is told to.
struct Late(tokio::sync::Notify);

impl Service for Late {
    type Session = UpperCase;

    fn takes_over(_: &str, _: &str) -> bool {
        false
    }

    async fn call(&self, _: Request<Incoming>) -> Response<Body> {
        self.0.notified().await;
        Response::new(respond::full("late"))
    }

    async fn take_over(&self, _: Request<Bytes>) -> Answer<UpperCase> {
        Answer::Respond(Response::new(respond::full("")))
    }
}

#[tokio::test]
async fn a_client_that_only_has_no_more_to_say_gets_its_answer() {
    let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
    let service = std::sync::Arc::new(Late(tokio::sync::Notify::new()));
    let serving = service.clone();
    let served = tokio::spawn(async move {
        let (_stop, stopped) = watch::channel(false);
        serve(server, &*serving, stopped).await;
    });
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    // The server has every chance to see the end first.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    service.0.notify_one();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("late"), "{answer}");
    served.await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_gone_is_missed_although_it_had_no_more_to_say() {
    let (told, dropped) = oneshot::channel();
    let (mut client, server) = tokio::net::UnixStream::pair().unwrap();
    let service = Endless(Mutex::new(Some(DropFlag(Some(told)))));
    let served = tokio::spawn(async move {
        let (_stop, stopped) = watch::channel(false);
        serve(server, &service, stopped).await;
    });
    client.write_all(b"GET /silent HTTP/1.1\r\n\r\n").await.unwrap();
    client.shutdown().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    drop(client);
    dropped.await.unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn pipelined_requests_at_every_split() {
    let requests = b"GET /a?filters={\"id\":[\"1\"]} HTTP/1.1\r\nHost: v1.35\r\n\r\n\
        POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{\"a b\":1}\
        POST /c HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"<\r\n2\r\n>}\r\n0\r\n\r\n\
        GET /d|e HTTP/1.1\r\nConnection: close\r\n\r\n";
    for piece in [1, 2, 3, 7, 50, requests.len()] {
        let answer = exchange(requests, piece, false).await;
        assert_eq!(
            bodies(&answer),
            ["GET /a?filters=%7B%22id%22:[%221%22]%7D ", "POST /slow {\"a b\":1}", "POST /c {\"<>}", "GET /d%7Ce "],
            "{piece}"
        );
    }
}

#[tokio::test]
async fn takeover_after_pipelined_requests_with_half_close() {
    for (header, status) in [("Upgrade: tcp\r\nConnection: Upgrade\r\n", "101 UPGRADED"), ("", "200 OK")] {
        let requests = format!(
            "GET /slow HTTP/1.1\r\n\r\nPOST /take/not HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n\
             POST /take/x HTTP/1.1\r\n{header}Content-Length: 4\r\n\r\n{{  }}raw {{ \r\n\r\nGET /x HTTP/1.1"
        );
        for piece in [1, 5, 64, requests.len()] {
            let answer = exchange(requests.as_bytes(), piece, true).await;
            let found = bodies(&answer);
            assert_eq!(
                found,
                ["GET /slow ", "POST /take/not ", "GET /b ", "RAW { \r\n\r\nGET /X HTTP/1.1"],
                "{piece} {answer}"
            );
            let head = answer.rsplit_once(&format!("HTTP/1.1 {status}\r\n")).unwrap().1;
            assert!(head.starts_with("Content-Type: application/vnd.docker.raw-stream\r\n"), "{head}");
            assert_eq!(head.contains("Upgrade: tcp\r\n"), !header.is_empty());
            assert!(head.contains("X-Body: 4\r\n"));
        }
    }
}

#[tokio::test]
async fn takeover_with_a_chunked_body_and_expectation() {
    let request = b"POST /take/x HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n\
        2\r\n{}\r\n0\r\n\r\nab";
    let answer = exchange(request, 3, true).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("X-Body: 2\r\n") && answer.ends_with("\r\n\r\nAB"), "{answer}");
}

#[tokio::test]
async fn broken_and_oversized_heads() {
    let answer = exchange(b"NONSENSE\r\n\r\n", 4, true).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let mut huge = b"GET / HTTP/1.1\r\nX: ".to_vec();
    huge.resize(MAX_HEAD + 40_000, b'a');
    let answer = exchange(&huge, 8192, false).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = exchange(b"POST /take/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 9, true).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let large = format!("POST /take/x HTTP/1.1\r\nContent-Length: {0}\r\n\r\n{1}", 2 << 20, " ".repeat(2 << 20));
    let answer = exchange(large.as_bytes(), 65536, true).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_head_must_arrive_in_time_but_silence_between_requests_is_fine() {
    let mut client = start(1024);
    tokio::time::sleep(std::time::Duration::from_secs(86_400)).await;
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_stop_lets_the_idle_connection_go() {
    let (mut client, server) = duplex(1024);
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(async move { serve(server, &Echo, stopped).await });
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 16];
    client.read_exact(&mut answer).await.unwrap();
    stop.send(true).unwrap();
    served.await.unwrap();
}

/// Random mutations of real requests must neither panic nor hang. `GANTRY_FUZZ_ROUNDS` makes it longer.
#[tokio::test]
async fn garbage_in() {
    let seed = b"POST /take/x HTTP/1.1\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let rounds = std::env::var("GANTRY_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    for _ in 0..rounds {
        let mut bytes = seed.to_vec();
        for _ in 0..=next() % 6 {
            let at = (next() % bytes.len() as u64) as usize;
            match next() % 3 {
                0 => bytes[at] = next() as u8,
                1 => bytes.insert(at, b'\n'),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let client = start(16 * 1024);
        let (mut read, mut write) = tokio::io::split(client);
        // The server may have hung up already.
        let _ = write.write_all(&bytes).await;
        let _ = write.shutdown().await;
        let mut answer = Vec::new();
        let done = tokio::time::timeout(std::time::Duration::from_secs(60), read.read_to_end(&mut answer)).await;
        assert!(done.is_ok(), "hangs on {}", bytes.escape_ascii());
    }
}

#[tokio::test]
async fn a_stop_ends_a_taken_connection() {
    let (mut client, server) = duplex(1024);
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(async move { serve(server, &Echo, stopped).await });
    client.write_all(b"POST /take/x HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 16];
    client.read_exact(&mut answer).await.unwrap();
    stop.send(true).unwrap();
    served.await.unwrap();
}
