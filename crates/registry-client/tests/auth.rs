//! Who is told what: passwords and tokens, and where they must not go.

mod support;

use bytes::Bytes;
use gantry_model::{ErrorKind, Reference};
use gantry_registry_client::{Access, Client, Config, Credentials, Error, Mount, Which};
use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};
use support::{Reply, Seen, Server, digest, password, pieces, read, refusal, reply};

const MANIFEST: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const BASIC: &str = "Basic dTpw";

fn manifest() -> Reply {
    reply(200, &[("content-type", OCI)], MANIFEST)
}

fn challenge(value: &str) -> Reply {
    refusal(401, "UNAUTHORIZED", "authentication required", &[("www-authenticate", value)])
}

fn bearer(realm: SocketAddr) -> Reply {
    challenge(&format!(r#"Bearer realm="http://{realm}/token?x=1",service="reg",scope="ignored""#))
}

/// A registry that takes the token `good`, and a token server that answers with what `token` returns.
async fn pair(token: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> (Server, Server) {
    let issuer = Server::new(token).await;
    let realm = issuer.address;
    let registry = Server::new(move |seen| match seen.authorization() {
        "Bearer good" if seen.method == "POST" && seen.target.contains("mount") => reply(201, &[], ""),
        "Bearer good" if seen.method == "POST" => reply(202, &[("location", "/u")], ""),
        "Bearer good" if seen.method == "PUT" => reply(201, &[], ""),
        "Bearer good" => manifest(),
        _ => bearer(realm),
    })
    .await;
    (registry, issuer)
}

fn good(_: &Seen) -> Reply {
    reply(200, &[], r#"{"token":"good","expires_in":300}"#)
}

#[tokio::test]
async fn basic() {
    let server =
        Server::new(|seen| if seen.authorization() == BASIC { manifest() } else { challenge("Basic realm=x") }).await;
    let repository = server.repository(&password(), Access::Pull);
    for _ in 0..2 {
        repository.manifest(Which::Tag("x")).await.unwrap();
    }
    let sent: Vec<_> = server.seen().iter().map(|s| s.authorization().to_owned()).collect();
    assert_eq!(sent, ["", BASIC, BASIC], "nothing before it is asked for, and at once when it is known");
    let error = server.anonymous().manifest(Which::Tag("x")).await.unwrap_err().to_string();
    assert_eq!(error, format!(r#"Get "http://{}/v2/a/b/manifests/x": no basic auth credentials"#, server.address));
    let wrong = Credentials { password: "wrong".into(), ..password() };
    let error = server.repository(&wrong, Access::Pull).manifest(Which::Tag("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
}

#[tokio::test]
async fn tokens() {
    let (registry, issuer) = pair(good).await;
    let repository = registry.repository(&password(), Access::Pull);
    for _ in 0..2 {
        repository.manifest(Which::Tag("x")).await.unwrap();
    }
    assert_eq!(registry.seen().len(), 3, "one refusal, then the token");
    let [asked] = &issuer.seen()[..] else { panic!("one token") };
    assert_eq!(asked.target, "/token?x=1&service=reg&scope=repository%3Aa%2Fb%3Apull&account=u");
    assert_eq!(asked.authorization(), BASIC);
    registry.anonymous().manifest(Which::Tag("x")).await.unwrap();
    let asked = issuer.seen().pop().unwrap();
    assert_eq!(
        (asked.authorization(), asked.target.as_str()),
        ("", "/token?x=1&service=reg&scope=repository%3Aa%2Fb%3Apull")
    );
}

#[tokio::test]
async fn an_identity_token_goes_by_oauth() {
    let (registry, issuer) = pair(|_| reply(200, &[], r#"{"access_token":"good"}"#)).await;
    let credentials = Credentials { identity_token: "id&t".into(), ..Credentials::default() };
    registry.repository(&credentials, Access::Push).manifest(Which::Tag("x")).await.unwrap();
    let asked = issuer.seen().pop().unwrap();
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token?x=1"));
    let form = "grant_type=refresh_token&refresh_token=id%26t&service=reg&client_id=docker&scope=repository%3Aa%2Fb%3Apull%2Cpush";
    assert_eq!(asked.body, form);
}

#[tokio::test]
async fn a_registry_token_is_used_as_it_is() {
    let (registry, issuer) = pair(good).await;
    let with = |token: &str| Credentials { registry_token: token.into(), ..Credentials::default() };
    registry.repository(&with("good"), Access::Pull).manifest(Which::Tag("x")).await.unwrap();
    let error = registry.repository(&with("bad"), Access::Pull).manifest(Which::Tag("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
    assert!(issuer.seen().is_empty());
}

#[tokio::test]
async fn a_token_that_ends_early_is_fetched_anew() {
    let issued = AtomicUsize::new(0);
    let issuer =
        Server::new(move |_| reply(200, &[], format!(r#"{{"token":"t{}"}}"#, issued.fetch_add(1, Ordering::SeqCst))))
            .await;
    let (realm, uses) = (issuer.address, AtomicUsize::new(0));
    let registry = Server::new(move |seen| match seen.authorization() {
        "Bearer t0" if uses.fetch_add(1, Ordering::SeqCst) == 0 => manifest(),
        "Bearer t1" => manifest(),
        _ => bearer(realm),
    })
    .await;
    let repository = registry.anonymous();
    repository.manifest(Which::Tag("x")).await.unwrap();
    // Side by side, one new token is enough for all.
    let together = (0..4).map(|_| repository.manifest(Which::Tag("x")));
    assert!(futures_util::future::join_all(together).await.iter().all(Result::is_ok));
    assert_eq!(issuer.seen().len(), 2);
}

#[tokio::test]
async fn a_mount_needs_a_token_for_both() {
    let (registry, issuer) = pair(good).await;
    let repository = registry.repository(&password(), Access::Push);
    assert!(matches!(repository.mount_blob(&digest(b""), "c/d").await, Ok(Mount::Mounted)));
    let asked = issuer.seen().pop().unwrap().target;
    assert!(asked.contains("scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%2Fd%3Apull"), "{asked}");
    // For the blob itself the repository's own token does.
    repository.start_upload().await.unwrap().send(&digest(b"x"), 1, pieces(b"x")).await.unwrap();
    assert_eq!(registry.seen().pop().unwrap().authorization(), "Bearer good");
}

#[tokio::test]
async fn token_servers_that_answer_nonsense() {
    let long = format!(r#"{{"token":"{}"}}"#, "x".repeat(100_000));
    for (status, body, expected) in [
        (200, "hi", "unable to decode token response"),
        (200, "{}", "authorization server did not include a token in the response"),
        (200, r#"{"token":""}"#, "authorization server did not include a token in the response"),
        (200, r#"{"token":"a\nb"}"#, "cannot be sent in a header"),
        (200, long.leak(), "sent a token of 100000 bytes"),
        (403, "<html>", "error parsing HTTP 403 response body: invalid character '<'"),
        (401, r#"{"details":"incorrect username or password"}"#, "unauthorized: incorrect username or password"),
        (307, "", "received unexpected HTTP status: 307 Temporary Redirect"),
    ] {
        let (registry, issuer) = pair(move |_| reply(status, &[("location", "/elsewhere")], body)).await;
        let error =
            registry.repository(&password(), Access::Pull).manifest(Which::Tag("x")).await.unwrap_err().to_string();
        let request = format!(r#"Get "http://{}/v2/a/b/manifests/x": "#, registry.address);
        assert!(error.starts_with(&request) && error.contains(expected), "{error}");
        assert_eq!(issuer.seen().len(), 1);
    }
}

#[tokio::test]
async fn realms_that_make_no_sense() {
    for realm in ["", "file:///etc/passwd", "ftp://h/", "//h/", "token", "http://"] {
        let server = Server::new(move |_| challenge(&format!(r#"Bearer realm="{realm}""#))).await;
        let error = server.repository(&password(), Access::Pull).manifest(Which::Tag("x")).await.unwrap_err();
        assert!(error.to_string().contains("token realm: invalid URL"), "{error}");
    }
}

#[tokio::test]
async fn redirects_do_not_carry_credentials() {
    let blob = b"blob";
    let storage = Server::new(|_| reply(200, &[], Bytes::from_static(blob))).await;
    let there = storage.address;
    let registry = Server::new(move |seen| match (seen.authorization(), seen.target.as_str()) {
        (BASIC, "/near") => reply(200, &[], Bytes::from_static(blob)),
        (BASIC, target) if target.ends_with(digest(b"near").as_str()) => reply(302, &[("location", "/near")], ""),
        (BASIC, _) => reply(307, &[("location", &format!("http://{there}/far?signature=s"))], ""),
        _ => challenge("Basic realm=x"),
    })
    .await;
    let repository = registry.repository(&password(), Access::Pull);
    for name in [&b"near"[..], b"far"] {
        let body = repository.blob(&digest(name), 0, None).await.unwrap();
        assert_eq!(read(body).await.unwrap(), blob);
    }
    let [seen] = &storage.seen()[..] else { panic!("one request") };
    assert_eq!((seen.target.as_str(), seen.authorization()), ("/far?signature=s", ""));
}

#[tokio::test]
async fn a_foreign_challenge_is_not_answered() {
    let thief = Server::new(|_| challenge("Basic realm=x")).await;
    let there = thief.address;
    let registry = Server::new(move |seen| match seen.authorization() {
        BASIC => reply(302, &[("location", &format!("http://{there}/"))], ""),
        _ => challenge("Basic realm=x"),
    })
    .await;
    let repository = registry.repository(&password(), Access::Pull);
    assert!(repository.blob(&digest(b""), 0, None).await.is_err());
    assert!(repository.foreign_blob(&format!("http://{there}/x"), 0, None).await.is_err());
    assert!(thief.seen().iter().all(|seen| seen.authorization().is_empty()), "{:?}", thief.seen());
    assert_eq!(thief.seen().len(), 2);
}

#[tokio::test]
async fn a_stranger_sends_nobody_to_a_token_server() {
    let tokens = Server::new(good).await;
    let realm = tokens.address;
    let stranger = Server::new(move |seen| match seen.target.as_str() {
        "/closed" => bearer(realm),
        _ => reply(206, &[("content-range", "bytes 2-3/9")], "cd"),
    })
    .await;
    let repository = stranger.repository(&password(), Access::Pull);
    let at = |path: &str| format!("http://{}/{path}", stranger.address);
    assert_eq!(repository.foreign_blob(&at("closed"), 0, None).await.unwrap_err().status(), Some(401));
    assert!(tokens.seen().is_empty());
    let part = repository.foreign_blob(&at("open"), 2, Some(4)).await.unwrap();
    assert_eq!((part.start, part.total, part.ranged), (2, Some(9), true));
    assert_eq!(read(part).await.unwrap(), b"cd");
}

#[tokio::test]
async fn an_upload_elsewhere_carries_no_credentials() {
    let storage = Server::new(|_| reply(201, &[], "")).await;
    let there = storage.address;
    let registry = Server::new(move |seen| match seen.authorization() {
        BASIC => reply(202, &[("location", &format!("http://{there}/u"))], ""),
        _ => challenge("Basic realm=x"),
    })
    .await;
    let upload = registry.repository(&password(), Access::Push).start_upload().await.unwrap();
    upload.send(&digest(b"x"), 1, pieces(b"x")).await.unwrap();
    let seen = storage.seen().pop().unwrap();
    assert_eq!((seen.method.as_str(), seen.authorization(), &seen.body[..]), ("PUT", "", &b"x"[..]));
}

#[tokio::test]
async fn mirrors_are_asked_first_and_told_nothing() {
    let mirror = Server::new(|seen| match seen.target.as_str() {
        "/v2/library/x/manifests/y" => manifest(),
        _ => challenge("Basic realm=x"),
    })
    .await;
    let mirrors = vec![format!("http://{}", mirror.address)];
    // Docker's own registry is out of reach: its proxy refuses.
    let refusing = Server::new(|_| reply(403, &[], "")).await;
    let https_proxy = format!("http://{}", refusing.address);
    let client = Client::new(Config { mirrors, https_proxy, ..Config::default() });
    let reference = Reference::parse("x").unwrap();
    let repository = client.repository(&reference, &password(), Access::Pull).unwrap();
    repository.manifest(Which::Tag("y")).await.unwrap();
    let error = repository.manifest(Which::Tag("z")).await.unwrap_err().to_string();
    assert_eq!(error, r#"Get "https://registry-1.docker.io/v2/": proxyconnect tcp: Forbidden"#);
    let _ = client.repository(&reference, &password(), Access::Push).unwrap().start_upload().await;
    assert_eq!(mirror.seen().len(), 2, "no push goes to a mirror");
    assert!(mirror.seen().iter().all(|seen| seen.authorization().is_empty()));
}

#[tokio::test]
async fn logins() {
    let issuer = Server::new(|seen| match seen.authorization() {
        BASIC => reply(200, &[], r#"{"token":"good","refresh_token":"keep me"}"#),
        _ => refusal(401, "UNAUTHORIZED", "incorrect username or password", &[]),
    })
    .await;
    let realm: OnceLock<SocketAddr> = OnceLock::from(issuer.address);
    let server = Server::new(move |seen| match seen.authorization() {
        "Bearer good" => reply(200, &[], "{}"),
        _ => bearer(*realm.get().unwrap()),
    })
    .await;
    let client = Client::new(Config::default());
    let at = |address: &str, password: &str| Credentials {
        username: "u".into(),
        password: password.into(),
        server_address: address.into(),
        ..Credentials::default()
    };
    let login = client.login(&at(&format!("https://{}/v1/", server.address), "p")).await.unwrap();
    assert_eq!((login.status.as_str(), login.identity_token.as_str()), ("Login Succeeded", "keep me"));
    let asked = issuer.seen().pop().unwrap().target;
    assert_eq!(asked, "/token?x=1&service=reg&offline_token=true&client_id=docker&account=u");
    let error = client.login(&at(&server.address.to_string(), "wrong")).await.unwrap_err();
    let expected = format!(r#"Get "http://{}/v2/": unauthorized: incorrect username or password"#, server.address);
    assert_eq!((error.to_string(), gantry_model::Error::from(error).kind()), (expected, ErrorKind::Unauthorized));

    let plain =
        Server::new(
            |seen| if seen.authorization() == BASIC { reply(200, &[], "") } else { challenge("Basic realm=x") },
        )
        .await;
    client.login(&at(&plain.address.to_string(), "p")).await.unwrap();
    let error = client.login(&at(&plain.address.to_string(), "wrong")).await.unwrap_err();
    let expected = format!("login attempt to http://{}/v2/ failed with status: 401 Unauthorized", plain.address);
    assert_eq!(error.to_string(), expected);
    assert!(matches!(client.login(&at("a b", "p")).await, Err(Error::Invalid(_))));
}

#[test]
fn secrets_are_not_shown() {
    let credentials = Credentials {
        username: "user".into(),
        password: "secret1".into(),
        identity_token: "secret2".into(),
        registry_token: "secret3".into(),
        ..Credentials::default()
    };
    let server = Reference::parse("reg.example/x").unwrap();
    let repository = Client::new(Config::default()).repository(&server, &credentials, Access::Pull).unwrap();
    let shown = format!("{credentials:?} {:?}", Arc::new(repository));
    assert!(shown.contains("user") && !shown.contains("secret"), "{shown}");
}
