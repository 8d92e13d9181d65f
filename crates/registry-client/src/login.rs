//! Checking credentials.

use crate::{
    Credentials, Error, Login, Result,
    auth::Authenticator,
    client::Setup,
    session::{Request, Session, Target},
};
use http::Method;

/// What people and old configurations call Docker's registry.
const DOCKER_NAMES: [&str; 4] = ["", "docker.io", "index.docker.io", "registry-1.docker.io"];

/// Asks the registry that the credentials are for whether it takes them.
pub(crate) async fn login(setup: &Setup, credentials: &Credentials) -> Result<Login> {
    let domain = domain(&credentials.server_address);
    let places = setup
        .places(domain, || Authenticator::for_login(credentials.clone()))
        .map_err(|e| Error::Invalid(format!("unable to parse server address: {e}")))?;
    let session = Session::new(setup.transport.clone(), places, "/v2/");
    let answer = session.ask(&Request::new(Method::GET, Target::Path("/v2/".to_owned()))).await.map_err(refused)?;
    setup.learn(domain, &session);
    if !answer.status.is_success() {
        return Err(Error::Login(format!("login attempt to {} failed with status: {}", answer.url, answer.status)));
    }
    let identity_token = session.place().auth.identity_token().await;
    answer.body.beginning().await;
    Ok(Login { status: "Login Succeeded".to_owned(), identity_token })
}

/// Clients send URLs with the path of a version, or bare hosts.
fn domain(address: &str) -> &str {
    let bare = address.trim();
    let bare = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://")).unwrap_or(bare);
    let host = bare.split('/').next().unwrap_or_default();
    if DOCKER_NAMES.contains(&host) { "docker.io" } else { host }
}

/// The token server's no is a no to the credentials.
fn refused(e: Error) -> Error {
    match e {
        Error::NoToken { .. } if matches!(e.status(), Some(401 | 403)) => Error::Login(e.to_string()),
        e => e,
    }
}

#[cfg(test)]
mod tests {
    use super::domain;

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("http://reg:5000/v2/", "reg:5000"),
            ("reg.example", "reg.example"),
            ("https://reg.example/a/b", "reg.example"),
        ] {
            assert_eq!(domain(address), expected, "{address}");
        }
    }
}
