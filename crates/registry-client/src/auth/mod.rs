//! Proving who one is: what a registry asks for in `WWW-Authenticate`, and what it gets.

mod token;

use crate::{
    Credentials, Error, Result,
    headers::{self, Challenge},
    transport::{Transport, Url},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue};
use std::{collections::HashMap, time::Duration};
use tokio::{sync::Mutex, time::Instant};

/// A token that is about to expire is not begun with.
const MARGIN: Duration = Duration::from_secs(5);

/// Repositories that blobs are taken over from need tokens of their own; forgetting one costs a request.
const MAX_GRANTS: usize = 16;

/// Knows one server's credentials, and the tokens it was given. For one repository, or for none (login).
#[derive(Debug)]
pub(crate) struct Authenticator {
    credentials: Credentials,
    /// `repository:path:pull,push`; empty when only the credentials are in question.
    scope: String,
    /// Ask for a token to keep instead of the password.
    offline: bool,
    /// Answer no challenge.
    silent: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the registry asked for the last time.
    challenge: Option<Challenge>,
    /// By the further repository that the token is for.
    grants: HashMap<Option<String>, Grant>,
    /// The token to keep, if the server gave one.
    identity_token: String,
    counter: u64,
}

/// What is sent as `Authorization`.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    expires: Option<Instant>,
    /// Tells a fresh grant from the one that was refused.
    number: u64,
}

impl Authenticator {
    pub(crate) fn new(credentials: Credentials, scope: String) -> Self {
        Self { credentials, scope, offline: false, silent: false, state: Mutex::default() }
    }

    /// For a login: asks for an identity token as well.
    pub(crate) fn for_login(credentials: Credentials) -> Self {
        Self { offline: true, ..Self::new(credentials, String::new()) }
    }

    /// For servers that are no registries: whatever they ask for, nobody is asked for a token on their word.
    pub(crate) fn for_strangers() -> Self {
        Self { silent: true, ..Self::new(Credentials::default(), String::new()) }
    }

    /// The identity token that came along with the last token.
    pub(crate) async fn identity_token(&self) -> String {
        self.state.lock().await.identity_token.clone()
    }

    /// What to send with a request, as far as it is known before the server asks. A token that has expired is fetched
    /// anew: a blob that is being sent cannot be sent twice.
    pub(crate) async fn grant(
        &self,
        transport: &Transport,
        registry: &Url,
        from: Option<&str>,
    ) -> Result<Option<Grant>> {
        let mut state = self.state.lock().await;
        let key = from.map(str::to_owned);
        match (state.grants.get(&key), &state.challenge) {
            (Some(grant), _) if grant.expires.is_none_or(|at| Instant::now() + MARGIN < at) => Ok(Some(grant.clone())),
            // Basic authentication does not depend on the repository, so that it is known for every one.
            (_, Some(challenge)) => {
                let challenge = challenge.clone();
                self.fetch(&mut state, transport, registry, challenge, key).await.map(Some)
            }
            (_, None) => Ok(None),
        }
    }

    /// Answers a `401`. `None` means that there is nothing better than what was refused.
    pub(crate) async fn answer(
        &self,
        transport: &Transport,
        registry: &Url,
        headers: &HeaderMap,
        from: Option<&str>,
        refused: Option<&Grant>,
    ) -> Result<Option<Grant>> {
        let asked = if self.silent { Vec::new() } else { headers::challenges(headers) };
        let choice = ["bearer", "basic"].iter().find_map(|scheme| asked.iter().find(|c| c.scheme == *scheme));
        let Some(challenge) = choice else {
            return Ok(None);
        };
        let mut state = self.state.lock().await;
        let key = from.map(str::to_owned);
        // Requests run side by side: another may have fetched a newer token while this one was refused.
        if let Some(grant) = state.grants.get(&key)
            && refused.is_none_or(|refused| refused.number < grant.number)
        {
            return Ok(Some(grant.clone()));
        }
        // The same password, or a token that the client itself brought, will not please the second time.
        let final_word = challenge.scheme == "basic" || !self.credentials.registry_token.is_empty();
        if refused.is_some() && final_word {
            return Ok(None);
        }
        state.challenge = Some(challenge.clone());
        let challenge = challenge.clone();
        self.fetch(&mut state, transport, registry, challenge, key).await.map(Some)
    }

    async fn fetch(
        &self,
        state: &mut State,
        transport: &Transport,
        registry: &Url,
        challenge: Challenge,
        key: Option<String>,
    ) -> Result<Grant> {
        let given = &self.credentials;
        let (text, expires) = if challenge.scheme == "basic" {
            let header = basic(given).ok_or(Error::NoCredentials)?;
            (header, None)
        } else if given.registry_token.is_empty() {
            let mut scopes = Vec::from([self.scope.clone()]);
            scopes.extend(key.as_ref().map(|from| format!("repository:{from}:pull")));
            let wish = token::Wish { credentials: given, scopes: &scopes, offline: self.offline, registry };
            let token = token::fetch(transport, &challenge, &wish).await?;
            if !token.refresh_token.is_empty() {
                state.identity_token = token.refresh_token;
            }
            (format!("Bearer {}", token.token), Some(Instant::now() + token.lifetime))
        } else {
            (format!("Bearer {}", given.registry_token), None)
        };
        let mut header = HeaderValue::try_from(text)
            .map_err(|_| Error::Protocol("credentials that cannot be sent in a header".to_owned()))?;
        header.set_sensitive(true);
        state.counter += 1;
        let grant = Grant { header, expires, number: state.counter };
        if state.grants.len() >= MAX_GRANTS {
            state.grants.clear();
        }
        state.grants.insert(key, grant.clone());
        Ok(grant)
    }
}

/// `Basic` with the account and its password, if there is one.
pub(crate) fn basic(credentials: &Credentials) -> Option<String> {
    let Credentials { username, password, .. } = credentials;
    if username.is_empty() && password.is_empty() {
        return None;
    }
    Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{password}"))))
}
