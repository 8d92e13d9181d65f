//! GELF 1.1: JSON messages, in compressed and chunked datagrams or over TCP with a zero byte after each.

use crate::Subject;
use crate::config::{OptionError, Options as Given, number, scheme};
use crate::connection::{Address, Link};
use crate::driver::Forward;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use gantry_container_logs::Stream;
use gantry_container_logs::feed::Line;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{self, Write};

/// The driver's own options.
pub(crate) const OPTIONS: &[&str] = &[
    "gelf-address",
    "gelf-compression-level",
    "gelf-compression-type",
    "gelf-tcp-max-reconnect",
    "gelf-tcp-reconnect-delay",
];

/// Bytes of a datagram that pass most networks unfragmented.
const DATAGRAM: usize = 1420;
const CHUNK_HEADER: usize = 12;
/// The specification allows no more.
const MAX_CHUNKS: usize = 128;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    address: Address,
    compression: Kind,
    level: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    None,
    Gzip,
    Zlib,
}

/// Reads the options.
pub(crate) fn parse(given: &Given) -> Result<Options, OptionError> {
    let text = given.get("gelf-address").map(String::as_str).unwrap_or_default();
    if text.is_empty() {
        return Err(OptionError("gelf-address is a required parameter".into()));
    }
    let malformed = || OptionError(format!("gelf-address should be in form proto://address, got {text}"));
    let (scheme, rest) = scheme(text).ok_or_else(malformed)?;
    let host = rest.split('/').next().unwrap_or_default();
    if host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        return Err(OptionError("gelf: please provide gelf-address as proto://host:port".into()));
    }
    let address = match scheme.as_str() {
        "udp" => Address::Udp(host.to_owned()),
        "tcp" => Address::Tcp(host.to_owned()),
        _ => return Err(OptionError("gelf: endpoint needs to be TCP or UDP".into())),
    };
    let tcp = scheme == "tcp";
    let only = |keys: [&str; 2], protocol: &str| match keys.iter().find(|key| given.contains_key(**key)) {
        Some(_) => Err(OptionError(format!(
            "{} and {} option for gelf are only available for {protocol} protocol",
            keys[0], keys[1]
        ))),
        None => Ok(()),
    };
    if tcp {
        only(["gelf-compression-type", "gelf-compression-level"], "UDP")?;
    } else {
        only(["gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay"], "TCP")?;
    }
    // Lines are never given up here, so that these two only have to make sense.
    number(given, "gelf-tcp-max-reconnect", 3, 0..=u64::from(u32::MAX))?;
    number(given, "gelf-tcp-reconnect-delay", 1, 0..=u64::from(u32::MAX))?;
    let compression = match given.get("gelf-compression-type").map(String::as_str) {
        _ if tcp => Kind::None,
        None | Some("gzip") => Kind::Gzip,
        Some("zlib") => Kind::Zlib,
        Some("none") => Kind::None,
        Some(other) => {
            return Err(OptionError(format!(
                "unknown value {other:?} for log opt \"gelf-compression-type\" for gelf log driver"
            )));
        }
    };
    let level = match given.get("gelf-compression-level").map(String::as_str) {
        // Go's "default" and "no" levels.
        Some("-1") => 6,
        _ => number(given, "gelf-compression-level", 1, 0..=9)? as u32,
    };
    Ok(Options { address, compression, level })
}

/// One container's messages.
pub(crate) struct Gelf {
    link: Link,
    options: Options,
    fields: Map<String, Value>,
}

impl Gelf {
    pub(crate) fn new(options: Options, subject: &Subject) -> Self {
        let mut fields = Map::new();
        let mut field = |key: &str, value: &str| fields.insert(key.to_owned(), Value::from(value));
        field("version", "1.1");
        field("host", &subject.host);
        field("_container_id", &subject.container_id);
        field("_container_name", &subject.container_name);
        field("_image_id", &subject.image_id);
        field("_image_name", &subject.image_name);
        field("_command", &subject.command);
        field("_tag", &subject.tag);
        field("_created", &subject.created);
        for (key, value) in &subject.extra {
            field(&format!("_{key}"), value);
        }
        Self { link: Link::new(options.address.clone()), options, fields }
    }

    fn message(&self, line: &Line) -> Vec<u8> {
        let mut message = self.fields.clone();
        message.insert("short_message".into(), String::from_utf8_lossy(&line.text).into());
        message.insert("timestamp".into(), ((line.time / 1_000_000) as f64 / 1000.0).into());
        message.insert("level".into(), if line.stream == Stream::Stderr { 3 } else { 6 }.into());
        serde_json::to_vec(&message).expect("maps of plain values always encode")
    }

    fn compress(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let level = Compression::new(self.options.level);
        match self.options.compression {
            Kind::None => Ok(message.to_vec()),
            Kind::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(message)?;
                encoder.finish()
            }
            Kind::Zlib => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(message)?;
                encoder.finish()
            }
        }
    }
}

impl Forward for Gelf {
    fn open(&mut self) -> io::Result<()> {
        self.link.connect().map(drop)
    }

    fn send(&mut self, line: &Line) -> io::Result<()> {
        if line.text.is_empty() {
            return Ok(());
        }
        let mut message = self.message(line);
        if matches!(self.options.address, Address::Tcp(_)) {
            message.push(0);
            return self.link.send(&message);
        }
        for datagram in chunks(&self.compress(&message)?) {
            self.link.send(&datagram)?;
        }
        Ok(())
    }
}

/// A message as datagrams; one that does not fit into as many as are allowed is lost, as it is with Docker.
fn chunks(message: &[u8]) -> Vec<Vec<u8>> {
    if message.len() <= DATAGRAM {
        return vec![message.to_vec()];
    }
    let parts: Vec<&[u8]> = message.chunks(DATAGRAM - CHUNK_HEADER).collect();
    if parts.len() > MAX_CHUNKS {
        return Vec::new();
    }
    let mut id = [0; 8];
    // Only has to differ from other messages under way; zeros after a failure do as long as there is one.
    let _ = getrandom::fill(&mut id);
    let count = parts.len() as u8;
    let chunk = |(number, part): (usize, &&[u8])| [&[0x1e, 0x0f][..], &id, &[number as u8, count], part].concat();
    parts.iter().enumerate().map(chunk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Given {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn options() {
        let parsed = parse(&given(&[("gelf-address", "udp://h:12201")])).unwrap();
        assert_eq!(parsed, Options { address: Address::Udp("h:12201".into()), compression: Kind::Gzip, level: 1 });
        for bad in [
            &[("gelf-address", "h:1")][..],
            &[("gelf-address", "udp://h")],
            &[("gelf-address", "unix://h:1")],
            &[("gelf-address", "udp://h:1"), ("gelf-compression-type", "lz4")],
            &[("gelf-address", "udp://h:1"), ("gelf-tcp-max-reconnect", "1")],
            &[("gelf-address", "tcp://h:1"), ("gelf-compression-level", "1")],
        ] {
            assert!(parse(&given(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn long_messages_come_in_numbered_chunks() {
        let message: Vec<u8> = (0..4000u32).map(|n| n as u8).collect();
        let chunks = chunks(&message);
        assert_eq!(chunks.len(), 3);
        let mut whole = Vec::new();
        for (number, chunk) in chunks.iter().enumerate() {
            assert!(chunk.len() <= DATAGRAM);
            assert_eq!(chunk[..2], [0x1e, 0x0f]);
            assert_eq!(chunk[2..10], chunks[0][2..10]);
            assert_eq!(chunk[10..12], [number as u8, 3]);
            whole.extend_from_slice(&chunk[12..]);
        }
        assert_eq!(whole, message);
        assert!(super::chunks(&vec![0; DATAGRAM * 200]).is_empty());
    }

    #[test]
    fn fields() {
        let subject = Subject { container_id: "c".into(), extra: vec![("k".into(), "v".into())], ..Subject::default() };
        let gelf = Gelf::new(parse(&given(&[("gelf-address", "tcp://h:1")])).unwrap(), &subject);
        let line = Line { stream: Stream::Stderr, time: 1_500_000_000_120_999_999, text: b"x".to_vec(), piece: None };
        let message: Value = serde_json::from_slice(&gelf.message(&line)).unwrap();
        assert_eq!(message["timestamp"], 1_500_000_000.12);
        assert_eq!((&message["level"], &message["_k"]), (&Value::from(3), &Value::from("v")));
    }
}
