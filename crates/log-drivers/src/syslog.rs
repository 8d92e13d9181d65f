//! syslog: RFC 3164 and RFC 5424 messages to `/dev/log`, a socket, UDP, TCP or TLS (RFC 5425).

use crate::Subject;
use crate::config::{OptionError, Options as Given, boolean, scheme, with_port};
use crate::connection::{Address, Connection, Link};
use crate::driver::Forward;
use crate::tls::TlsOptions;
use gantry_container_logs::Stream;
use gantry_container_logs::feed::Line;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use time::{OffsetDateTime, UtcOffset, macros::format_description};

/// The driver's own options.
pub(crate) const OPTIONS: &[&str] = &[
    "syslog-address",
    "syslog-facility",
    "syslog-tls-ca-cert",
    "syslog-tls-cert",
    "syslog-tls-key",
    "syslog-tls-skip-verify",
    "syslog-format",
];

/// Where programs log to on this host, in the order in which C libraries try them.
const LOCAL: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
const PORT: u16 = 514;
const DAEMON: u8 = 3;
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// `None` is this host's own.
    address: Option<Address>,
    facility: u8,
    format: Format,
}

/// How a message looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    /// As local programs write it: without a host.
    Local,
    Rfc3164,
    Rfc5424,
    Rfc5424Micro,
}

/// Reads the options.
pub(crate) fn parse(given: &Given) -> Result<Options, OptionError> {
    let facility = match given.get("syslog-facility").map(String::as_str) {
        None | Some("") => DAEMON,
        Some(text) => facility(text).ok_or_else(|| OptionError("invalid syslog facility".into()))?,
    };
    let format = match given.get("syslog-format").map(String::as_str) {
        None | Some("") => Format::Local,
        Some("rfc3164") => Format::Rfc3164,
        Some("rfc5424") => Format::Rfc5424,
        Some("rfc5424micro") => Format::Rfc5424Micro,
        Some(_) => return Err(OptionError("Invalid syslog format".into())),
    };
    let address = match given.get("syslog-address").map(String::as_str) {
        None | Some("") => None,
        Some(text) => Some(address(text, given)?),
    };
    Ok(Options { address, facility, format })
}

fn facility(text: &str) -> Option<u8> {
    // Two names for one number, as in syslog.h.
    let alias = match text {
        "logaudit" => "security",
        "logalert" => "console",
        other => other,
    };
    let named = FACILITIES.iter().position(|name| *name == alias).map(|at| at as u8);
    named.or_else(|| text.parse().ok().filter(|number| *number < 24))
}

fn address(text: &str, given: &Given) -> Result<Address, OptionError> {
    let malformed = || OptionError(format!("syslog-address should be in form proto://address, got {text}"));
    let (scheme, rest) = scheme(text).ok_or_else(malformed)?;
    let path = |rest: &str| {
        let path = PathBuf::from(rest);
        if path.exists() { Ok(path) } else { Err(OptionError(format!("stat {rest}: no such file or directory"))) }
    };
    match scheme.as_str() {
        "udp" => Ok(Address::Udp(with_port(rest, PORT))),
        "tcp" => Ok(Address::Tcp(with_port(rest, PORT))),
        "tcp+tls" => Ok(Address::Tls(with_port(rest, PORT), tls(given))),
        "unix" => Ok(Address::Unix(path(rest)?)),
        "unixgram" => Ok(Address::UnixDatagram(path(rest)?)),
        _ => Err(malformed()),
    }
}

fn tls(given: &Given) -> TlsOptions {
    let file = |key: &str| given.get(key).filter(|path| !path.is_empty()).map(PathBuf::from);
    TlsOptions {
        ca: file("syslog-tls-ca-cert"),
        certificate: file("syslog-tls-cert"),
        key: file("syslog-tls-key"),
        // Docker takes the option's presence for a yes, whatever it says.
        skip_verify: given.contains_key("syslog-tls-skip-verify")
            && boolean(given, "syslog-tls-skip-verify", true).unwrap_or(true),
        server_name: None,
    }
}

/// One container's messages.
pub(crate) struct Syslog {
    link: Option<Link>,
    format: Format,
    facility: u8,
    /// RFC 5425 counts a message's bytes, where a stream of UDP-like messages ends each with a newline.
    counted: bool,
    host: String,
    tag: String,
}

impl Syslog {
    pub(crate) fn new(options: Options, subject: &Subject) -> Self {
        let rfc5424 = matches!(options.format, Format::Rfc5424 | Format::Rfc5424Micro);
        let counted = rfc5424 && matches!(options.address, Some(Address::Tls(..)));
        Self {
            link: options.address.map(Link::new),
            format: options.format,
            facility: options.facility,
            counted,
            host: subject.host.clone(),
            tag: subject.tag.clone(),
        }
    }

    fn link(&mut self) -> io::Result<&mut Link> {
        if self.link.is_none() {
            self.link = Some(Link::new(local()?));
        }
        Ok(self.link.as_mut().expect("just set"))
    }

    fn message(&self, line: &Line) -> Vec<u8> {
        let severity = if line.stream == Stream::Stderr { 3 } else { 6 };
        let priority = self.facility << 3 | severity;
        let pid = std::process::id();
        let (host, tag) = (&self.host, &self.tag);
        let head = match self.format {
            Format::Local => format!("<{priority}>{} {tag}[{pid}]: ", stamp(line.time)),
            Format::Rfc3164 => format!("<{priority}>{} {host} {tag}[{pid}]: ", stamp(line.time)),
            Format::Rfc5424 | Format::Rfc5424Micro => {
                let time = rfc3339(line.time, self.format == Format::Rfc5424Micro);
                format!("<{priority}>1 {time} {host} {tag} {pid} {tag} - ")
            }
        };
        let message = [head.as_bytes(), &line.text, b"\n"].concat();
        if self.counted { [format!("{} ", message.len()).as_bytes(), &message].concat() } else { message }
    }
}

impl Forward for Syslog {
    fn open(&mut self) -> io::Result<()> {
        self.link()?.connect().map(drop)
    }

    fn send(&mut self, line: &Line) -> io::Result<()> {
        if line.text.is_empty() {
            return Ok(());
        }
        let message = self.message(line);
        self.link()?.send(&message)
    }
}

fn local() -> io::Result<Address> {
    for path in LOCAL.iter().map(Path::new).filter(|path| path.exists()) {
        for address in [Address::UnixDatagram(path.to_owned()), Address::Unix(path.to_owned())] {
            if Connection::open(&address).is_ok() {
                return Ok(address);
            }
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "Unix syslog delivery error"))
}

fn local_time(nanos: i64) -> OffsetDateTime {
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos.into()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let offset = gantry_linux::local_time::offset(time.unix_timestamp());
    time.to_offset(UtcOffset::from_whole_seconds(offset).unwrap_or(UtcOffset::UTC))
}

/// `Jan  2 15:04:05`.
fn stamp(nanos: i64) -> String {
    let format = format_description!("[month repr:short] [day padding:space] [hour]:[minute]:[second]");
    local_time(nanos).format(format).unwrap_or_default()
}

fn rfc3339(nanos: i64, micro: bool) -> String {
    let time = local_time(nanos);
    let date = time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]")).unwrap_or_default();
    let fraction = if micro { format!(".{:06}", time.microsecond()) } else { String::new() };
    let zone = match time.offset() {
        offset if offset.is_utc() => "Z".to_owned(),
        offset => {
            offset.format(format_description!("[offset_hour sign:mandatory]:[offset_minute]")).unwrap_or_default()
        }
    };
    format!("{date}{fraction}{zone}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syslog(pairs: &[(&str, &str)]) -> Syslog {
        let given: Given = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let subject = Subject { host: "node".into(), tag: "web".into(), ..Subject::default() };
        Syslog::new(parse(&given).unwrap(), &subject)
    }

    fn text(syslog: &Syslog, stream: Stream) -> String {
        let line = Line { stream, time: 1_500_000_000_120_000_000, text: b"hello".to_vec(), piece: None };
        String::from_utf8(syslog.message(&line)).unwrap()
    }

    #[test]
    fn messages_have_their_forms() {
        let pid = std::process::id();
        let local = text(&syslog(&[]), Stream::Stdout);
        assert!(local.starts_with("<30>Jul 14 ") && local.ends_with(&format!(" web[{pid}]: hello\n")), "{local}");
        let old = text(&syslog(&[("syslog-format", "rfc3164"), ("syslog-facility", "local0")]), Stream::Stderr);
        assert!(old.starts_with("<131>Jul 14 ") && old.contains(" node web["), "{old}");
        let micro = text(&syslog(&[("syslog-format", "rfc5424micro")]), Stream::Stdout);
        assert!(micro.starts_with("<30>1 2017-07-14T") && micro.contains(".120000"), "{micro}");
        let tls = [("syslog-format", "rfc5424"), ("syslog-address", "tcp+tls://h")];
        let counted = text(&syslog(&tls), Stream::Stdout);
        let (count, rest) = counted.split_once(' ').unwrap();
        assert_eq!(count.parse::<usize>().unwrap(), rest.len());
    }

    #[test]
    fn facilities_by_name_and_number() {
        assert_eq!(facility("local7"), Some(23));
        assert_eq!(facility("16"), Some(16));
        assert_eq!(facility("24"), None);
    }
}
