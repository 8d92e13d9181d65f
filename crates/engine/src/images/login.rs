//! `POST /auth`, and credentials in the registry client's form.

use crate::Engine;
use gantry_api_types::{AuthConfig, AuthResponse};
use gantry_model::Result;
use gantry_registry_client::Credentials;

impl Engine {
    /// Asks a registry whether credentials are right.
    pub async fn registry_login(&self, auth: &AuthConfig) -> Result<AuthResponse> {
        let login = self.registry.login(&credentials(auth)).await?;
        Ok(AuthResponse { identity_token: login.identity_token, status: login.status })
    }
}

/// The same in the client's form.
pub(super) fn credentials(auth: &AuthConfig) -> Credentials {
    Credentials {
        username: auth.username.clone(),
        password: auth.password.clone(),
        identity_token: auth.identitytoken.clone(),
        registry_token: auth.registrytoken.clone(),
        server_address: auth.serveraddress.clone(),
    }
}
