//! The headers that registries say more with than a word. Compiled into a fuzz target as it is.

use http::{HeaderMap, HeaderName};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::{PrimitiveDateTime, macros::format_description};

/// No server has more ways of authentication than this, and none of them more parameters.
const MAX_CHALLENGES: usize = 8;
const MAX_PARAMETERS: usize = 32;

/// One way in which a server wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// The scheme, in lower case.
    pub(crate) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter by its name in lower case; empty if it is not there.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// Reads every `WWW-Authenticate`, of which each may hold several challenges.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(http::header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(parse_challenges).take(MAX_CHALLENGES).collect()
}

/// Reads one `WWW-Authenticate` (RFC 9110, 11.6.1). What cannot be read is left out.
pub(crate) fn parse_challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut cursor = Cursor(text);
    loop {
        cursor.skip(|c| c.is_whitespace() || c == ',');
        let name = cursor.token();
        if name.is_empty() {
            return found;
        }
        cursor.skip(char::is_whitespace);
        // `name=value` belongs to the challenge before it; a name alone begins the next.
        if cursor.take('=') {
            cursor.skip(char::is_whitespace);
            let value = cursor.value();
            if let Some(challenge) = found.last_mut().filter(|c| c.parameters.len() < MAX_PARAMETERS) {
                challenge.parameters.push((name.to_ascii_lowercase(), value));
            }
        } else if found.len() < MAX_CHALLENGES {
            found.push(Challenge { scheme: name.to_ascii_lowercase(), parameters: Vec::new() });
        } else {
            return found;
        }
    }
}

/// The URL that a `Link` header calls the next (RFC 8288).
pub(crate) fn next_link(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        let (url, parameters) = after.split_once('>')?;
        let mut cursor = Cursor(parameters);
        loop {
            cursor.skip(|c| c.is_whitespace() || c == ';');
            let name = cursor.token();
            if name.is_empty() {
                break;
            }
            cursor.skip(char::is_whitespace);
            let value = if cursor.take('=') { cursor.value() } else { String::new() };
            if name.eq_ignore_ascii_case("rel") && value.split_whitespace().any(|r| r.eq_ignore_ascii_case("next")) {
                return Some(url);
            }
        }
        rest = cursor.0;
    }
    None
}

/// What a `Content-Range` says: the first and last byte, and the size of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    /// The first and the last byte; not there in the answer to a range that cannot be had.
    pub(crate) range: Option<(u64, u64)>,
    /// The size of the whole, if it is known.
    pub(crate) total: Option<u64>,
}

/// Reads a `Content-Range` in bytes that makes sense.
pub(crate) fn content_range(text: &str) -> Option<ContentRange> {
    let (unit, rest) = text.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |digits: &str| {
        let ok = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        ok.then(|| digits.parse::<u64>().ok()).flatten()
    };
    let total = if total == "*" { None } else { Some(number(total)?) };
    if range == "*" {
        return Some(ContentRange { range: None, total });
    }
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last && last < total.unwrap_or(u64::MAX)).then_some(ContentRange { range: Some((first, last)), total })
}

/// How long `Retry-After` wants us to wait, as seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    parse_retry_after(headers.get(HeaderName::from_static("retry-after"))?.to_str().ok()?, now)
}

pub(crate) fn parse_retry_after(text: &str, now: Duration) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = Duration::from_secs(u64::try_from(date(text)?).ok()?);
    Some(date.saturating_sub(now))
}

/// A date of HTTP, in seconds since the epoch.
pub(crate) fn date(text: &str) -> Option<i64> {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    Some(PrimitiveDateTime::parse(text.trim(), &format).ok()?.assume_utc().unix_timestamp())
}

/// What is left of a header.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip(&mut self, what: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(what);
    }

    fn take(&mut self, c: char) -> bool {
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> &'a str {
        let in_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c);
        let (token, rest) = self.0.split_at(self.0.find(|c| !in_token(c)).unwrap_or(self.0.len()));
        self.0 = rest;
        token
    }

    /// A token, or a quoted string.
    fn value(&mut self) -> String {
        if !self.take('"') {
            return self.token().to_owned();
        }
        let mut value = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return value;
                }
                '\\' => value.extend(chars.next().map(|(_, c)| c)),
                c => value.push(c),
            }
        }
        self.0 = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use super::{ContentRange, content_range, next_link, parse_challenges, parse_retry_after};
    use std::time::Duration;

    #[test]
    fn reads_challenges() {
        let text =
            r#"Bearer realm="https://auth/token?a=b,c",service=reg,scope="repository:a/b:pull,push", error="x\"y""#;
        let [challenge] = &parse_challenges(text)[..] else { panic!("one challenge") };
        assert_eq!(challenge.scheme, "bearer");
        for (name, value) in [
            ("realm", "https://auth/token?a=b,c"),
            ("service", "reg"),
            ("scope", "repository:a/b:pull,push"),
            ("error", "x\"y"),
            ("nothing", ""),
        ] {
            assert_eq!(challenge.parameter(name), value);
        }
        let several = parse_challenges(r#"Basic realm="a", BEARER Realm = b ,Negotiate"#);
        let read: Vec<_> = several.iter().map(|c| (c.scheme.as_str(), c.parameter("realm"))).collect();
        assert_eq!(read, [("basic", "a"), ("bearer", "b"), ("negotiate", "")]);
    }

    #[test]
    fn survives_nonsense() {
        for text in
            ["", ",,,", "=", "\"", "Bearer realm=\"", "Bearer =,=", "Bearer realm=\"\\", "ü", "a b c d", "a=\u{0}"]
        {
            parse_challenges(text);
            assert_eq!(next_link(text), None);
            assert_eq!(content_range(text), None);
        }
        assert!(parse_challenges(&"x ".repeat(1000)).len() <= super::MAX_CHALLENGES);
    }

    #[test]
    fn finds_the_next_link() {
        for (text, expected) in [
            (r#"</v2/a/tags/list?last=b&n=2>; rel="next""#, Some("/v2/a/tags/list?last=b&n=2")),
            (r#"<https://h/x>; rel=prev, </y>; a="b;c"; REL="last next""#, Some("/y")),
            (r#"</x>; rel="prev""#, None),
            ("</x>", None),
            ("</x", None),
        ] {
            assert_eq!(next_link(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_ranges() {
        let range = |range, total| Some(ContentRange { range, total });
        assert_eq!(content_range("bytes 2-5/9"), range(Some((2, 5)), Some(9)));
        assert_eq!(content_range("Bytes 2-5/*"), range(Some((2, 5)), None));
        assert_eq!(content_range("bytes */9"), range(None, Some(9)));
        for bad in ["bytes 5-2/9", "bytes 2-9/9", "bytes +2-3/9", "lines 1-2/3", "bytes 1-2", "bytes -/1"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_waiting_times() {
        let now = Duration::from_secs(1_445_412_480 - 90);
        for (text, expected) in [
            ("7", Some(7)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", Some(90)),
            ("Wed, 21 Oct 2009 07:28:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(parse_retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
