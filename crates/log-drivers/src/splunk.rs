//! Splunk's HTTP event collector.

use crate::Subject;
use crate::config::{OptionError, Options as Given, boolean, number, scheme, with_port};
use crate::connection::{Address, Connection};
use crate::driver::Forward;
use crate::tls::TlsOptions;
use flate2::{Compression, write::GzEncoder};
use gantry_container_logs::Stream;
use gantry_container_logs::feed::Line;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The driver's own options.
pub(crate) const OPTIONS: &[&str] = &[
    "splunk-url",
    "splunk-token",
    "splunk-source",
    "splunk-sourcetype",
    "splunk-index",
    "splunk-capath",
    "splunk-caname",
    "splunk-insecureskipverify",
    "splunk-format",
    "splunk-verify-connection",
    "splunk-gzip",
    "splunk-gzip-level",
    "splunk-index-acknowledgment",
];

const PATH: &str = "/services/collector/event/1.0";
/// Lines of a request, and how long a line waits for others, as in Docker.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
const WAIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are looked at.
const MAX_ANSWER: u64 = 16 << 10;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    address: Address,
    /// For the `Host` header.
    host: String,
    token: String,
    source: String,
    source_type: String,
    index: String,
    format: Format,
    verify: bool,
    gzip: Option<u32>,
    acknowledged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    Inline,
    Json,
    Raw,
}

/// Reads the options.
pub(crate) fn parse(given: &Given) -> Result<Options, OptionError> {
    let text = |key: &str| given.get(key).cloned().unwrap_or_default();
    let required = |key: &str| match text(key) {
        empty if empty.is_empty() => Err(OptionError(format!("splunk: {key} is expected"))),
        given => Ok(given),
    };
    let url = required("splunk-url")?;
    let token = required("splunk-token")?;
    let malformed = || OptionError("splunk: expected format scheme://dns_name_or_ip:port for splunk-url".into());
    let (scheme, host) = scheme(&url).ok_or_else(malformed)?;
    let host = host.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '?', '#', '@']) || token.contains(['\r', '\n']) {
        return Err(malformed());
    }
    let address = match scheme.as_str() {
        "http" => Address::Tcp(with_port(host, 80)),
        "https" => Address::Tls(with_port(host, 443), tls(given)?),
        _ => return Err(malformed()),
    };
    let format = match text("splunk-format").as_str() {
        "" | "inline" => Format::Inline,
        "json" => Format::Json,
        "raw" => Format::Raw,
        other => {
            return Err(OptionError(format!(
                "unknown format specified {other}, supported formats are inline, json and raw"
            )));
        }
    };
    let level = match given.get("splunk-gzip-level").map(String::as_str) {
        Some("-1") => 6,
        _ => number(given, "splunk-gzip-level", 6, 0..=9)? as u32,
    };
    Ok(Options {
        address,
        host: host.to_owned(),
        token,
        source: text("splunk-source"),
        source_type: text("splunk-sourcetype"),
        index: text("splunk-index"),
        format,
        verify: boolean(given, "splunk-verify-connection", true)?,
        gzip: boolean(given, "splunk-gzip", false)?.then_some(level),
        acknowledged: boolean(given, "splunk-index-acknowledgment", false)?,
    })
}

fn tls(given: &Given) -> Result<TlsOptions, OptionError> {
    let some = |key: &str| given.get(key).filter(|text| !text.is_empty()).cloned();
    Ok(TlsOptions {
        ca: some("splunk-capath").map(PathBuf::from),
        skip_verify: boolean(given, "splunk-insecureskipverify", false)?,
        server_name: some("splunk-caname"),
        ..TlsOptions::default()
    })
}

/// One container's events.
pub(crate) struct Splunk {
    options: Options,
    /// The fields around the event that are the same each time.
    envelope: Map<String, Value>,
    tag: String,
    attributes: Map<String, Value>,
    /// For acknowledgements, which Splunk demands to be told apart by it.
    channel: String,
    batch: Vec<u8>,
    lines: usize,
    since: Option<Instant>,
}

impl Splunk {
    pub(crate) fn new(options: Options, subject: &Subject) -> Self {
        let mut envelope = Map::new();
        let fields = [
            ("host", &subject.host),
            ("source", &options.source),
            ("sourcetype", &options.source_type),
            ("index", &options.index),
        ];
        for (key, value) in fields {
            if !value.is_empty() || key == "host" {
                envelope.insert(key.to_owned(), value.as_str().into());
            }
        }
        let attributes = subject.extra.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        let hex = gantry_model::Id::random().to_string();
        let channel = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]);
        let tag = subject.tag.clone();
        Self { options, envelope, tag, attributes, channel, batch: Vec::new(), lines: 0, since: None }
    }

    fn event(&self, line: &Line) -> Option<Value> {
        let text = String::from_utf8_lossy(&line.text);
        if self.options.format == Format::Raw {
            // The collector refuses an event of white space.
            return (!text.trim().is_empty()).then(|| self.raw(&text).into());
        }
        let parsed = if self.options.format == Format::Json { serde_json::from_str::<Value>(&text).ok() } else { None };
        let mut event = Map::new();
        event.insert("line".into(), parsed.unwrap_or_else(|| text.as_ref().into()));
        event.insert("source".into(), if line.stream == Stream::Stderr { "stderr" } else { "stdout" }.into());
        if !self.tag.is_empty() {
            event.insert("tag".into(), self.tag.as_str().into());
        }
        if !self.attributes.is_empty() {
            event.insert("attrs".into(), self.attributes.clone().into());
        }
        Some(event.into())
    }

    fn raw(&self, text: &str) -> String {
        let mut raw = String::new();
        if !self.tag.is_empty() {
            raw = format!("{} ", self.tag);
        }
        for (key, value) in &self.attributes {
            for part in [key, "=", value.as_str().unwrap_or_default(), " "] {
                raw.push_str(part);
            }
        }
        raw + text
    }

    fn post(&self) -> io::Result<()> {
        let body = match self.options.gzip {
            None => self.batch.clone(),
            Some(level) => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
                encoder.write_all(&self.batch)?;
                encoder.finish()?
            }
        };
        let (status, text) = self.request("POST", &body)?;
        if status == 200 {
            Ok(())
        } else {
            Err(io::Error::other(format!("splunk: failed to send event - {status} - {text}")))
        }
    }

    /// One request over a connection of its own: there is one every five seconds at most, unless a thousand lines
    /// are there before.
    fn request(&self, method: &str, body: &[u8]) -> io::Result<(u16, String)> {
        let Options { host, token, .. } = &self.options;
        let mut head = format!("{method} {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", body.len());
        if method == "POST" {
            for part in ["Authorization: Splunk ", token, "\r\nContent-Type: application/json\r\n"] {
                head.push_str(part);
            }
        }
        if self.options.gzip.is_some() && method == "POST" {
            head += "Content-Encoding: gzip\r\n";
        }
        if self.options.acknowledged {
            for part in ["X-Splunk-Request-Channel: ", &self.channel, "\r\n"] {
                head.push_str(part);
            }
        }
        head += "Connection: close\r\n\r\n";
        let mut connection = Connection::open(&self.options.address)?;
        connection.send(&[head.as_bytes(), body].concat())?;
        let mut answer = Vec::new();
        match connection.take(MAX_ANSWER).read_to_end(&mut answer) {
            // Many servers end TLS without saying so; what came before is the answer.
            Err(e) if answer.is_empty() => return Err(e),
            _ => {}
        }
        read_answer(&answer)
    }
}

impl Forward for Splunk {
    fn open(&mut self) -> io::Result<()> {
        if !self.options.verify {
            return Ok(());
        }
        match self.request("OPTIONS", &[])? {
            (200, _) => Ok(()),
            (status, text) => Err(io::Error::other(format!("splunk: failed to verify connection - {status} - {text}"))),
        }
    }

    fn send(&mut self, line: &Line) -> io::Result<()> {
        if self.lines >= BATCH || self.batch.len() >= BATCH_BYTES {
            self.flush()?;
        }
        let Some(event) = self.event(line) else { return Ok(()) };
        let mut message = self.envelope.clone();
        message.insert("event".into(), event);
        message.insert("time".into(), format!("{:.6}", line.time as f64 / 1e9).into());
        serde_json::to_writer(&mut self.batch, &message).map_err(io::Error::other)?;
        self.lines += 1;
        self.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + WAIT)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.lines > 0 {
            self.post()?;
        }
        self.batch.clear();
        self.lines = 0;
        self.since = None;
        Ok(())
    }
}

fn read_answer(answer: &[u8]) -> io::Result<(u16, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Complete(length)) => {
            let text = String::from_utf8_lossy(&answer[length..]).trim().to_owned();
            Ok((response.code.unwrap_or(0), text))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "splunk: the answer is not HTTP")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splunk(pairs: &[(&str, &str)]) -> Splunk {
        let mut given: Given = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        given.insert("splunk-url".into(), "https://h:8088".into());
        given.insert("splunk-token".into(), "t".into());
        let extra = vec![("k".to_owned(), "v".to_owned())];
        Splunk::new(parse(&given).unwrap(), &Subject { tag: "web".into(), extra, ..Subject::default() })
    }

    fn event(format: &str, text: &str) -> Option<Value> {
        let line = Line { stream: Stream::Stdout, time: 1, text: text.into(), piece: None };
        splunk(&[("splunk-format", format)]).event(&line)
    }

    #[test]
    fn formats() {
        assert_eq!(event("raw", "hi").unwrap(), "web k=v hi");
        assert_eq!(event("raw", "  "), None);
        assert_eq!(event("json", "{\"a\":1}").unwrap()["line"]["a"], 1);
        assert_eq!(event("json", "no json").unwrap()["line"], "no json");
        assert_eq!(event("inline", "{}").unwrap()["attrs"]["k"], "v");
    }

    #[test]
    fn lines_wait_for_company() {
        let mut splunk = splunk(&[]);
        assert!(splunk.due().is_none());
        let line = Line { stream: Stream::Stdout, time: 1_500_000_000_120_000_000, text: b"x".to_vec(), piece: None };
        splunk.send(&line).unwrap();
        assert!(splunk.due().is_some());
        assert!(String::from_utf8_lossy(&splunk.batch).contains("\"time\":\"1500000000.120000\""));
    }

    #[test]
    fn urls() {
        let url = |text: &str| {
            let given = [("splunk-url", text), ("splunk-token", "t")];
            parse(&given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).map(|o| o.address)
        };
        assert_eq!(url("http://h:8088/").unwrap(), Address::Tcp("h:8088".into()));
        for bad in ["h:8088", "ftp://h", "https://h/path", "https://h?x", "https://u@h"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert_eq!(read_answer(b"HTTP/1.1 403 No\r\n\r\nwrong").unwrap(), (403, "wrong".into()));
        assert!(read_answer(b"SSH-2.0").is_err());
    }
}
