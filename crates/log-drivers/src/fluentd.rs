//! Fluentd's forward protocol (version 1, message mode): `[tag, time, record, option]` in MessagePack.

use crate::Subject;
use crate::config::{OptionError, Options as Given, boolean, number, scheme, with_port};
use crate::connection::{Address, Link};
use crate::driver::Forward;
use crate::msgpack;
use crate::tls::TlsOptions;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gantry_container_logs::Stream;
use gantry_container_logs::feed::Line;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::PathBuf;

/// The driver's own options.
pub(crate) const OPTIONS: &[&str] = &[
    "fluentd-address",
    "fluentd-async",
    "fluentd-async-connect",
    "fluentd-async-reconnect-interval",
    "fluentd-buffer-limit",
    "fluentd-max-retries",
    "fluentd-request-ack",
    "fluentd-retry-wait",
    "fluentd-sub-second-precision",
    "fluentd-write-timeout",
];

const PORT: u16 = 24224;
/// An acknowledgement is a map of one short string; more is no acknowledgement.
const MAX_ACK: usize = 256;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    address: Address,
    /// Start although nobody can be reached.
    asynchronous: bool,
    sub_second: bool,
    acknowledged: bool,
}

/// Reads the options.
pub(crate) fn parse(given: &Given) -> Result<Options, OptionError> {
    if given.contains_key("fluentd-async") && given.contains_key("fluentd-async-connect") {
        return Err(OptionError(
            "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect'".into(),
        ));
    }
    let asynchronous = boolean(given, "fluentd-async", false)? || boolean(given, "fluentd-async-connect", false)?;
    for key in ["fluentd-retry-wait", "fluentd-async-reconnect-interval", "fluentd-write-timeout"] {
        duration(given, key)?;
    }
    number(given, "fluentd-max-retries", 0, 0..=u64::MAX)?;
    Ok(Options {
        address: address(given.get("fluentd-address").map(String::as_str).unwrap_or_default())?,
        asynchronous,
        sub_second: boolean(given, "fluentd-sub-second-precision", false)?,
        acknowledged: boolean(given, "fluentd-request-ack", false)?,
    })
}

fn address(text: &str) -> Result<Address, OptionError> {
    if text.is_empty() {
        return Ok(Address::Tcp(format!("127.0.0.1:{PORT}")));
    }
    let invalid = |why: &str| OptionError(format!("invalid fluentd-address ({text}): {why}"));
    let Some((scheme, rest)) = scheme(text) else { return Ok(Address::Tcp(with_port(text, PORT))) };
    match scheme.as_str() {
        "unix" if rest.trim_start_matches('/').is_empty() => Err(invalid("path is empty")),
        "unix" => Ok(Address::Unix(PathBuf::from(rest))),
        "tcp" | "tls" if rest.contains('/') => Err(invalid("should not contain a path element")),
        "tcp" => Ok(Address::Tcp(with_port(rest, PORT))),
        "tls" => Ok(Address::Tls(with_port(rest, PORT), TlsOptions::default())),
        other => Err(invalid(&format!("unsupported scheme: '{other}'"))),
    }
}

/// Go's durations, as far as people write them; only whether it is one matters.
fn duration(given: &Given, key: &str) -> Result<(), OptionError> {
    let Some(text) = given.get(key).filter(|text| !text.is_empty()) else { return Ok(()) };
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == 'µ');
    let unit = &text[number.len()..];
    let fits = number.parse::<f64>().is_ok_and(|n| n >= 0.0)
        && (matches!(unit, "ns" | "us" | "µs" | "ms" | "s" | "m" | "h") || text == "0");
    if fits { Ok(()) } else { Err(OptionError(format!("invalid value for {key}: time: invalid duration {text:?}"))) }
}

/// One container's messages.
pub(crate) struct Fluentd {
    link: Link,
    options: Options,
    subject: Subject,
}

impl Fluentd {
    pub(crate) fn new(options: Options, subject: Subject) -> Self {
        Self { link: Link::new(options.address.clone()), options, subject }
    }

    fn message(&self, line: &Line, chunk: Option<&str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(line.text.len() + 256);
        msgpack::array(&mut out, if chunk.is_some() { 4 } else { 3 });
        msgpack::string(&mut out, self.subject.tag.as_bytes());
        if self.options.sub_second {
            msgpack::event_time(&mut out, line.time);
        } else {
            msgpack::seconds(&mut out, line.time / 1_000_000_000);
        }
        let source = if line.stream == Stream::Stderr { "stderr" } else { "stdout" };
        let mut record: Vec<(&str, Vec<u8>)> = vec![
            ("container_id", self.subject.container_id.clone().into()),
            ("container_name", format!("/{}", self.subject.container_name).into()),
            ("source", source.into()),
            ("log", line.text.clone()),
        ];
        record.extend(self.subject.extra.iter().map(|(key, value)| (key.as_str(), value.clone().into())));
        if let Some(piece) = line.piece {
            record.push(("partial_message", "true".into()));
            record.push(("partial_id", format!("{}-{}", self.subject.container_id, piece.line).into()));
            record.push(("partial_ordinal", piece.ordinal.to_string().into()));
            record.push(("partial_last", piece.last.to_string().into()));
        }
        msgpack::map(&mut out, record.len() as u16);
        for (key, value) in record {
            msgpack::string(&mut out, key.as_bytes());
            msgpack::string(&mut out, &value);
        }
        if let Some(chunk) = chunk {
            msgpack::map(&mut out, 1);
            msgpack::string(&mut out, b"chunk");
            msgpack::string(&mut out, chunk.as_bytes());
        }
        out
    }

    fn wait_for(&mut self, chunk: &str) -> io::Result<()> {
        let connection = self.link.connect()?;
        let mut answer = Vec::new();
        let mut wanted = Vec::new();
        msgpack::string(&mut wanted, b"ack");
        msgpack::string(&mut wanted, chunk.as_bytes());
        let mut buffer = [0; MAX_ACK];
        while answer.len() < MAX_ACK {
            match connection.read(&mut buffer)? {
                0 => break,
                length => answer.extend_from_slice(&buffer[..length]),
            }
            if answer.windows(wanted.len()).any(|window| window == wanted) {
                return Ok(());
            }
        }
        self.link.close();
        Err(io::Error::other("fluentd did not acknowledge a message"))
    }
}

impl Forward for Fluentd {
    fn open(&mut self) -> io::Result<()> {
        if self.options.asynchronous { Ok(()) } else { self.link.connect().map(drop) }
    }

    fn send(&mut self, line: &Line) -> io::Result<()> {
        if !self.options.acknowledged {
            let message = self.message(line, None);
            return self.link.send(&message);
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(io::Error::other)?;
        let chunk = STANDARD.encode(id);
        let message = self.message(line, Some(&chunk));
        self.link.send(&message)?;
        self.wait_for(&chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Result<Options, OptionError> {
        parse(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn addresses() {
        let parsed = |text| options(&[("fluentd-address", text)]).map(|options| options.address);
        assert_eq!(parsed("").unwrap(), Address::Tcp("127.0.0.1:24224".into()));
        assert_eq!(parsed("h:1").unwrap(), Address::Tcp("h:1".into()));
        assert_eq!(parsed("tcp://h").unwrap(), Address::Tcp("h:24224".into()));
        assert_eq!(parsed("unix:///run/f.sock").unwrap(), Address::Unix("/run/f.sock".into()));
        assert!(parsed("unix://").is_err());
        assert!(parsed("corrupted://h").is_err());
        assert!(options(&[("fluentd-retry-wait", "500ms")]).is_ok());
        assert!(options(&[("fluentd-retry-wait", "soon")]).is_err());
        assert!(options(&[("fluentd-async", "true"), ("fluentd-async-connect", "true")]).is_err());
    }

    #[test]
    fn a_message() {
        let subject = Subject { tag: "t".into(), container_id: "c".into(), ..Subject::default() };
        let fluentd = Fluentd::new(options(&[]).unwrap(), subject);
        let line = Line { stream: Stream::Stdout, time: 2_000_000_003, text: b"\xff".to_vec(), piece: None };
        let message = fluentd.message(&line, None);
        assert_eq!(message[..12], [0x93, 0xa1, b't', 0xd3, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert!(message.ends_with(b"\xa3log\xa1\xff"));
        assert_eq!(fluentd.message(&line, Some("id"))[0], 0x94);
    }
}
