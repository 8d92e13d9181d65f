//! The door: one client for the whole daemon.

use crate::{
    Access, Config, Credentials, Error, Repository, Result, SearchResult,
    auth::Authenticator,
    login, search,
    session::{Place, Session},
    transport::{Transport, Url, url::split_host_port},
};
use gantry_model::Reference;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Docker's own registry, by the name in references and by that in the network.
const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";
const DOCKER_INDEX: &str = "https://index.docker.io/v1/";

/// Registries without TLS that are remembered, so that they are not called with TLS each time.
const MAX_PLAIN: usize = 64;

/// Knows how to reach registries. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    setup: Arc<Mutex<Arc<Setup>>>,
}

/// What follows from one configuration.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) transport: Arc<Transport>,
    mirrors: Vec<Url>,
    index: String,
    plain: Mutex<HashSet<String>>,
}

/// A successful login.
#[derive(Debug, Clone)]
pub struct Login {
    /// What to tell the user.
    pub status: String,
    /// The token to keep instead of the password; may be empty.
    pub identity_token: String,
}

impl Client {
    /// A client with this configuration.
    pub fn new(config: Config) -> Self {
        Self { setup: Arc::new(Mutex::new(Arc::new(Setup::new(config)))) }
    }

    /// Uses another configuration from the next repository on.
    pub fn reconfigure(&self, config: Config) {
        let setup = Arc::new(Setup::new(config));
        *self.setup.lock().unwrap_or_else(PoisonError::into_inner) = setup;
    }

    pub(crate) fn setup(&self) -> Arc<Setup> {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The repository that `reference` names. Nothing is sent yet.
    pub fn repository(&self, reference: &Reference, credentials: &Credentials, access: Access) -> Result<Repository> {
        let setup = self.setup();
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{}:{actions}", reference.path());
        let mut places = Vec::new();
        if reference.domain() == DOCKER && access == Access::Pull {
            // Whoever runs a mirror has no business with passwords for Docker's registry.
            places.extend(setup.mirrors.iter().map(|mirror| {
                Place::new(mirror.clone(), true, Authenticator::new(Credentials::default(), scope.clone()))
            }));
        }
        let auth = || Authenticator::new(credentials.clone(), scope.clone());
        places.extend(setup.places(reference.domain(), auth)?);
        Ok(Repository::new(setup, places, reference))
    }

    /// Checks credentials at the registry they are for.
    pub async fn login(&self, credentials: &Credentials) -> Result<Login> {
        login::login(&self.setup(), credentials).await
    }

    /// Searches the index, or the host that `term` begins with, for at most `limit` repositories.
    pub async fn search(&self, term: &str, limit: u32, credentials: &Credentials) -> Result<Vec<SearchResult>> {
        search::search(&self.setup(), term, limit, credentials).await
    }
}

impl Setup {
    fn new(config: Config) -> Self {
        let mirrors = config.mirrors.iter().filter_map(|mirror| match Url::parse(mirror) {
            Ok(url) => Some(url.with_target("/")),
            Err(e) => {
                tracing::warn!("registry mirror is not used: {e}");
                None
            }
        });
        Self {
            transport: Arc::new(Transport::new(&config)),
            mirrors: mirrors.collect(),
            index: if config.index.is_empty() { DOCKER_INDEX.to_owned() } else { config.index },
            plain: Mutex::default(),
        }
    }

    /// The search index.
    pub(crate) fn index(&self) -> &str {
        &self.index
    }

    /// Where a domain's registry may be: behind TLS, or without. Whether plain HTTP is allowed is found out when it
    /// would be next.
    pub(crate) fn places(&self, domain: &str, auth: impl Fn() -> Authenticator) -> Result<Vec<Place>> {
        let host = if domain == DOCKER { DOCKER_HOST } else { domain };
        if split_host_port(host).is_none() {
            return Err(Error::Invalid(format!("invalid registry host {host:?}")));
        }
        let place = |scheme: &str| {
            let base = Url::parse(&format!("{scheme}://{host}/")).map_err(Error::Invalid)?;
            Ok(Place::new(base, false, auth()))
        };
        if domain == DOCKER {
            return Ok(vec![place("https")?]);
        }
        let is_plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner).contains(domain);
        let schemes = if is_plain { ["http", "https"] } else { ["https", "http"] };
        schemes.into_iter().map(place).collect()
    }

    /// Remembers how a registry was reached.
    pub(crate) fn learn(&self, domain: &str, session: &Session) {
        let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        if session.place().base.origin.https {
            plain.remove(domain);
        } else if !plain.contains(domain) {
            if plain.len() >= MAX_PLAIN {
                plain.clear();
            }
            plain.insert(domain.to_owned());
        }
    }
}
