//! What the daemon is configured with, and what a client brings along.

use std::{fmt, path::PathBuf};

/// The daemon's settings about registries.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Hosts (`host`, `host:port`) and networks (CIDR) that are reached without verification, or without TLS.
    /// Loopback always is.
    pub insecure: Vec<String>,
    /// URLs of mirrors of Docker's own registry.
    pub mirrors: Vec<String>,
    /// The proxy for `http` URLs.
    pub http_proxy: String,
    /// The proxy for `https` URLs.
    pub https_proxy: String,
    /// Where no proxy is used, in the syntax of `NO_PROXY`.
    pub no_proxy: String,
    /// Directories with a subdirectory `host[:port]` for each registry with certificates of its own.
    pub certs_dirs: Vec<PathBuf>,
    /// The `User-Agent` of every request.
    pub user_agent: String,
    /// The search index for names without a host; empty for Docker's.
    pub index: String,
}

/// What a client sent in `X-Registry-Auth`.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The account.
    pub username: String,
    /// Its password.
    pub password: String,
    /// A token that the token server takes instead of a password.
    pub identity_token: String,
    /// A token that the registry takes as it is.
    pub registry_token: String,
    /// The registry that the credentials are for.
    pub server_address: String,
}

/// Without secrets, so that it can be logged.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}
