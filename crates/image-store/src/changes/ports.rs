//! Ports as EXPOSE takes them.

use super::ChangeError;

/// The `port/protocol` keys of one argument: `80`, `80/udp`, `8000-8010`, also with a host part, which says nothing
/// here.
pub(super) fn parse(text: &str) -> Result<Vec<String>, ChangeError> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let container = ports.rsplit(':').next().unwrap_or_default();
    let protocol = protocol.to_ascii_lowercase();
    let bad = || ChangeError::Port(container.to_owned());
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(ChangeError::Protocol(protocol));
    }
    let (first, last) = container.split_once('-').unwrap_or((container, container));
    let port = |text: &str| text.parse::<u16>().map_err(|_| bad());
    let (first, last) = (port(first)?, port(last)?);
    if last < first {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}
