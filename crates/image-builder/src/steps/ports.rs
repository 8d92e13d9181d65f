//! `EXPOSE`.

use gantry_model::{Error, Result};

/// The ports that a word means, as `80/tcp`.
pub(crate) fn ports(word: &str) -> Result<Vec<String>> {
    let wrong = || Error::invalid(format!("invalid containerPort: {word}"));
    let (numbers, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(Error::invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::ports;

    #[test]
    fn forms() {
        assert_eq!(ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(ports("53/UDP").unwrap(), ["53/udp"]);
        assert_eq!(ports("1-3/sctp").unwrap(), ["1/sctp", "2/sctp", "3/sctp"]);
        for wrong in ["", "x", "70000", "3-1", "80/x", "80:80", "-1"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
