//! Registries, mirrors and proxies: checked and brought into one form, with dockerd's rules and words.

use std::net::IpAddr;

use anyhow::{Result, bail, ensure};

use crate::settings::{Remark, Settings};

/// Nobody has more layers under way than this, also with 0, which means "no limit".
const MOST_AT_A_TIME: i64 = 256;

impl Settings {
    /// Checks everything about registries; mirrors and insecure registries get the form that is used from here on.
    pub(crate) fn normalise_registries(&mut self) -> Result<()> {
        for mirror in &mut self.registry_mirrors {
            *mirror = self::mirror(mirror)?;
        }
        self.registry_mirrors.dedup();
        for registry in &mut self.insecure_registries {
            let (name, remark) = insecure_registry(registry)?;
            *registry = name;
            self.remarks.extend(remark);
        }
        at_least(0, "max concurrent downloads", self.max_concurrent_downloads)?;
        at_least(0, "max concurrent uploads", self.max_concurrent_uploads)?;
        at_least(1, "max download attempts", self.max_download_attempts)?;
        if let Some(index) = self.search_index.as_deref().filter(|index| !index.is_empty()) {
            let host = index.strip_prefix("https://").or_else(|| index.strip_prefix("http://"));
            let host = host.and_then(|rest| rest.split('/').next());
            ensure!(host.is_some_and(|host| !host.is_empty()), "search-index: {index:?} is not a URL of http or https");
        }
        Ok(())
    }

    /// The proxies: the options, else the environment's.
    pub(crate) fn proxies(&self) -> Proxies {
        let pick = |option: &Option<String>, names: [&str; 2]| {
            let option = option.clone().filter(|value| !value.is_empty());
            let variable = || names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
            option.or_else(variable).unwrap_or_default()
        };
        Proxies {
            http: pick(&self.http_proxy, ["HTTP_PROXY", "http_proxy"]),
            https: pick(&self.https_proxy, ["HTTPS_PROXY", "https_proxy"]),
            none: pick(&self.no_proxy, ["NO_PROXY", "no_proxy"]),
        }
    }

    /// Layers fetched at a time.
    pub(crate) fn concurrent_downloads(&self) -> usize {
        concurrency(self.max_concurrent_downloads, 3)
    }

    /// Layers sent at a time.
    pub(crate) fn concurrent_uploads(&self) -> usize {
        concurrency(self.max_concurrent_uploads, 5)
    }

    /// How often a layer is tried.
    pub(crate) fn download_attempts(&self) -> u32 {
        self.max_download_attempts.and_then(|n| u32::try_from(n).ok()).unwrap_or(5)
    }
}

/// How hosts are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Proxies {
    /// For `http`.
    pub http: String,
    /// For `https`.
    pub https: String,
    /// Hosts that need none.
    pub none: String,
}

fn at_least(least: i64, what: &str, value: Option<i64>) -> Result<()> {
    match value {
        Some(value) if value < least => bail!("invalid {what}: {value}"),
        _ => Ok(()),
    }
}

fn concurrency(value: Option<i64>, default: usize) -> usize {
    match value {
        None => default,
        Some(0) => MOST_AT_A_TIME as usize,
        Some(value) => usize::try_from(value.clamp(1, MOST_AT_A_TIME)).unwrap_or(default),
    }
}

/// A mirror as a URL with a slash at its end.
fn mirror(text: &str) -> Result<String> {
    let parsed: Option<http::Uri> = text.parse().ok();
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let Some(uri) = parsed else { bail!("invalid mirror: {text:?} is not a valid URI") };
    if !matches!(scheme, "http" | "https") {
        bail!("invalid mirror: unsupported scheme {scheme:?} in {text:?}");
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
        bail!("invalid mirror: path, query, or fragment at end of the URI {text:?}");
    }
    if let Some((user, host)) = rest.split_once('@') {
        let user = user.split(':').next().unwrap_or_default();
        bail!("invalid mirror: username/password not allowed in URI \"{scheme}://{user}:xxxxx@{host}\"");
    }
    Ok(format!("{}/", text.trim_end_matches('/')))
}

/// An insecure registry: a network, a host or `host:port`; with something to say about how it was written.
fn insecure_registry(text: &str) -> Result<(String, Option<Remark>)> {
    if text.starts_with('-') || text.ends_with('-') {
        bail!("invalid index name ({text}). Cannot begin or end with a hyphen");
    }
    let lower = text.to_ascii_lowercase();
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let name = &text[scheme.map_or(0, str::len)..];
    let remark = scheme.map(|scheme| {
        Remark::Warning(format!(
            "insecure registry {text} should not contain '{scheme}' and '{scheme}' has been removed from the insecure \
             registry config"
        ))
    });
    if name.contains("://") {
        bail!("insecure registry {name} should not contain '://'");
    }
    if !is_network(name) {
        host_port(name).map_err(|why| anyhow::anyhow!("insecure registry {name} is not valid: {why}"))?;
    }
    Ok((name.to_owned(), remark))
}

fn is_network(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    }
}

fn host_port(text: &str) -> Result<(), String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or_default()),
        None if text.matches(':').count() == 1 => text.split_once(':').unwrap_or((text, "")),
        None => (text, ""),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let named = bracketed.is_none() && host.split('.').all(label);
    if !named && host.parse::<IpAddr>().is_err() {
        return Err(format!("invalid host {host:?}"));
    }
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(format!("invalid port {port:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors() {
        for (text, expected) in [
            ("https://m.example.com", "https://m.example.com/"),
            ("http://m:5000/", "http://m:5000/"),
            ("http://a b", "invalid mirror: \"http://a b\" is not a valid URI"),
            ("ftp://x", "invalid mirror: unsupported scheme \"ftp\" in \"ftp://x\""),
            ("x", "invalid mirror: unsupported scheme \"\" in \"x\""),
            ("https://x/y", "invalid mirror: path, query, or fragment at end of the URI \"https://x/y\""),
            ("https://x?q", "invalid mirror: path, query, or fragment at end of the URI \"https://x?q\""),
            ("https://u:p@x", "invalid mirror: username/password not allowed in URI \"https://u:xxxxx@x\""),
        ] {
            assert_eq!(mirror(text).unwrap_or_else(|e| e.to_string()), expected, "{text}");
        }
    }

    #[test]
    fn insecure_registries() {
        let read = |text: &str| insecure_registry(text).map_or_else(|e| e.to_string(), |(name, _)| name);
        for good in ["reg", "reg.example.com:5000", "10.0.0.0/8", "fd00::/8", "[::1]:5000", "::1", "127.0.0.1:80"] {
            assert_eq!(read(good), good);
        }
        for (text, expected) in [
            ("-x", "invalid index name (-x). Cannot begin or end with a hyphen"),
            ("a b", "insecure registry a b is not valid: invalid host \"a b\""),
            ("ftp://x", "insecure registry ftp://x should not contain '://'"),
            ("10.0.0.0/99", "insecure registry 10.0.0.0/99 is not valid: invalid host \"10.0.0.0/99\""),
            ("x:99999", "insecure registry x:99999 is not valid: invalid port \"99999\""),
            ("x/y", "insecure registry x/y is not valid: invalid host \"x/y\""),
        ] {
            assert_eq!(read(text), expected);
        }
        let (name, remark) = insecure_registry("HTTP://reg:5000").unwrap();
        assert_eq!(name, "reg:5000");
        assert!(matches!(remark, Some(Remark::Warning(text)) if text.contains("'http://' has been removed")));
    }

    #[test]
    fn how_much_at_a_time() {
        let with = |n| {
            let mut settings = Settings::default();
            settings.max_concurrent_downloads = n;
            settings
        };
        assert_eq!(with(None).concurrent_downloads(), 3);
        assert_eq!(with(Some(0)).concurrent_downloads(), 256);
        assert_eq!(with(Some(7)).concurrent_downloads(), 7);
        let error = with(Some(-1)).normalise_registries().unwrap_err().to_string();
        assert_eq!(error, "invalid max concurrent downloads: -1");
    }
}
