//! The daemon's own log on standard error, in dockerd's formats, with a level that a reload changes.

use std::fmt;
use std::fmt::Write as _;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::Settings;

/// Changes the level later.
pub(crate) type LevelHandle = reload::Handle<LevelFilter, tracing_subscriber::Registry>;

/// Installs the log. Called once, before anything that logs.
pub(crate) fn install(settings: &Settings) -> LevelHandle {
    let (filter, handle) = reload::Layer::new(level(settings));
    let format = Dockerish { json: settings.log_format.as_deref() == Some("json") };
    let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(filter).with(layer).init();
    handle
}

/// The level that the settings ask for.
pub(crate) fn level(settings: &Settings) -> LevelFilter {
    if settings.debug {
        return LevelFilter::DEBUG;
    }
    match settings.log_level.as_deref().map(str::to_lowercase).as_deref() {
        Some("trace") => LevelFilter::TRACE,
        Some("debug") => LevelFilter::DEBUG,
        Some("warn") => LevelFilter::WARN,
        Some("error" | "fatal" | "panic") => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

/// `time="..." level=info msg="..." key=value`, or the same as one JSON object a line: tools that
/// watch a daemon's log for dockerd's lines find them.
struct Dockerish {
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Dockerish
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = gantry_model::Timestamp::now().to_string();
        let level = name(*event.metadata().level());
        if self.json {
            let mut line = serde_json::Map::new();
            line.insert("level".into(), level.into());
            line.insert("msg".into(), fields.message.into());
            line.insert("time".into(), time.into());
            line.extend(fields.rest.into_iter().map(|(k, v)| (k.to_owned(), v.into())));
            return writeln!(out, "{}", serde_json::Value::Object(line));
        }
        write!(out, "time=\"{time}\" level={level} msg={}", quoted(&fields.message, true))?;
        for (key, value) in &fields.rest {
            write!(out, " {key}={}", quoted(value, false))?;
        }
        writeln!(out)
    }
}

fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// logfmt: quotes where a reader needs them. Control characters never reach a terminal raw.
fn quoted(text: &str, always: bool) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@^+:".contains(c);
    if !always && !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.rest.push((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quotes_what_needs_it() {
        assert_eq!(quoted("plain", true), "\"plain\"");
        assert_eq!(quoted("10.0.0.1:80", false), "10.0.0.1:80");
        assert_eq!(quoted("a b", false), "\"a b\"");
        assert_eq!(quoted("", false), "\"\"");
        assert_eq!(quoted("a\n\"\x1b[0m", false), "\"a\\n\\\"\\x1b[0m\"");
    }
}
