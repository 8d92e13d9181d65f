//! Credentials in headers.

use crate::request::Call;
use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use gantry_api_types::{AuthConfig, go_json};
use gantry_model::{Error, Result};
use std::collections::BTreeMap;

const HEADER: &str = "x-registry-auth";
/// With or without padding, and with bits left over: clients disagree.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// `X-Registry-Auth`, or `None` when the request has none.
pub(crate) fn header(call: &Call) -> Option<AuthConfig> {
    let value = call.headers.get(HEADER)?.to_str().unwrap_or_default();
    if value.is_empty() { None } else { Some(decode(value)) }
}

/// The credentials as a request's body, in the way of clients before the header. The type is not looked at.
pub(crate) async fn body(call: &mut Call) -> Result<AuthConfig> {
    let bytes = call.whole_body().await?;
    if bytes.is_empty() {
        return Err(Error::invalid("EOF"));
    }
    let auth: Option<AuthConfig> = go_json::from_slice(&bytes).map_err(|e| Error::invalid(e.to_string()))?;
    Ok(with_pair(auth.unwrap_or_default()))
}

/// `X-Registry-Config`: credentials by registry. What makes no sense is nobody's.
pub(crate) fn registries(call: &Call) -> BTreeMap<String, AuthConfig> {
    let value = call.headers.get("x-registry-config").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let auths: Option<BTreeMap<String, AuthConfig>> =
        bytes(value).and_then(|bytes| go_json::from_slice(&bytes).ok().flatten());
    auths.unwrap_or_default().into_iter().map(|(registry, auth)| (registry, with_pair(auth))).collect()
}

fn bytes(value: &str) -> Option<Vec<u8>> {
    let text = value.trim();
    [URL_SAFE, STANDARD].iter().find_map(|alphabet| GeneralPurpose::new(alphabet, LENIENT).decode(text).ok())
}

/// JSON in base64: URL-safe by the book, and not always in practice. What makes no sense is nobody's credentials, as
/// in Docker: most registries let anybody read.
fn decode(value: &str) -> AuthConfig {
    let auth: Option<AuthConfig> = bytes(value).and_then(|bytes| go_json::from_slice(&bytes).ok().flatten());
    with_pair(auth.unwrap_or_default())
}

/// `auth` is `user:password` in base64, the form of the client's own configuration file.
pub(crate) fn with_pair(mut auth: AuthConfig) -> AuthConfig {
    if auth.username.is_empty()
        && let Ok(bytes) = GeneralPurpose::new(&STANDARD, LENIENT).decode(auth.auth.trim())
        && let Ok(pair) = String::from_utf8(bytes)
        && let Some((username, password)) = pair.split_once(':')
    {
        username.clone_into(&mut auth.username);
        password.trim_end_matches('\0').clone_into(&mut auth.password);
    }
    auth
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};

    #[test]
    fn every_form_of_base64() {
        let json = r#"{"username":"u","password":"p?>~","serveraddress":"h:5000","email":"???>>>~~~"}"#;
        for engine in [BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD] {
            let auth = decode(&engine.encode(json));
            assert_eq!((auth.username.as_str(), auth.password.as_str()), ("u", "p?>~"));
            assert_eq!(auth.serveraddress, "h:5000");
        }
    }

    #[test]
    fn tokens_and_pairs() {
        let decode = |json: &str| decode(&BASE64_URL_SAFE.encode(json));
        assert_eq!(decode(r#"{"identitytoken":"t"}"#).identitytoken, "t");
        assert_eq!(decode(r#"{"IdentityToken":"t","RegistryToken":"r"}"#).registrytoken, "r");
        let pair = decode(&format!(r#"{{"auth":"{}"}}"#, BASE64_STANDARD.encode("u:p:q")));
        assert_eq!((pair.username.as_str(), pair.password.as_str()), ("u", "p:q"));
        let both = decode(&format!(r#"{{"username":"a","auth":"{}"}}"#, BASE64_STANDARD.encode("u:p")));
        assert_eq!(both.username, "a");
    }

    #[test]
    fn nonsense_is_nobody() {
        for value in ["!!!", "bnVsbA==", "e30", "e30=", "bm9uZQ", &BASE64_URL_SAFE.encode(r#"{"username":1}"#)] {
            assert_eq!(decode(value), AuthConfig::default(), "{value}");
        }
    }
}
