//! The door: one client for the whole daemon.

use crate::{Access, Config, Credentials, Error, Repository, Result, SearchResult};
use gantry_model::Reference;

/// Knows how to reach registries. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {}

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
    pub fn new(_config: Config) -> Self {
        Self {}
    }

    /// Uses another configuration from the next repository on.
    pub fn reconfigure(&self, _config: Config) {}

    /// The repository that `reference` names. Nothing is sent yet.
    pub fn repository(
        &self,
        _reference: &Reference,
        _credentials: &Credentials,
        _access: Access,
    ) -> Result<Repository> {
        Err(Error::Protocol("not there yet".to_owned()))
    }

    /// Checks credentials at the registry they are for.
    pub async fn login(&self, _credentials: &Credentials) -> Result<Login> {
        std::future::ready(Err(Error::Protocol("not there yet".to_owned()))).await
    }

    /// Searches the index, or the host that `term` begins with, for at most `limit` repositories.
    pub async fn search(&self, _term: &str, _limit: u32, _credentials: &Credentials) -> Result<Vec<SearchResult>> {
        std::future::ready(Err(Error::Protocol("not there yet".to_owned()))).await
    }
}
