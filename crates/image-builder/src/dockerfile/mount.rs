//! `RUN --mount=type=...,key=value`.

use super::{Bind, CacheMount, CacheSharing, Mount, MountKind, Secret, Text, Tmpfs};
use gantry_model::go::parse_bool;
use std::collections::BTreeMap;

/// A mount as it is written: its variables have values when the step begins, and only then it can be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountText {
    text: String,
    from: Option<String>,
}

impl MountText {
    /// Takes a text. Mistakes that no variable can mend are found at once.
    pub(super) fn new(text: String) -> Text<Self> {
        let mut fields = Fields::read(&text, &|value| Ok(value.to_owned()))?;
        let from = fields.take(&["from"]);
        if from.as_deref().is_some_and(|from| from.contains('$')) {
            // What a stage needs must be known before anything runs.
            return Err("'from' doesn't support variable expansion, define alias stage instead".to_owned());
        }
        let mount = Self { text, from };
        if !mount.text.contains('$') {
            mount.read(&|value| Ok(value.to_owned()))?;
        }
        Ok(mount)
    }

    /// The stage or image that it reads from.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The mount that it is with this way to expand values.
    pub fn read(&self, expand: &dyn Fn(&str) -> Text<String>) -> Text<Mount> {
        mount(Fields::read(&self.text, expand)?)
    }
}

fn mount(mut fields: Fields) -> Text<Mount> {
    let kind = fields.take(&["type"]).map_or_else(|| "bind".to_owned(), |kind| kind.to_ascii_lowercase());
    let target = fields.take(&["target", "dst", "destination"]);
    let mut readonly = fields.switch(&["readonly", "ro"])?;
    if let Some(write) = fields.switch(&["readwrite", "rw"])? {
        readonly = Some(!write);
    }
    let mount = match kind.as_str() {
        "bind" => {
            let target = needed(target, &kind)?;
            let bind = Bind { from: fields.take(&["from"]), source: fields.source() };
            Mount { target, readonly: readonly.unwrap_or(true), kind: MountKind::Bind(bind) }
        }
        "cache" => {
            let target = needed(target, &kind)?;
            let cache = CacheMount {
                id: crate::ignore::clean_path(&fields.take(&["id"]).unwrap_or_else(|| target.clone())),
                from: fields.take(&["from"]),
                source: fields.source(),
                sharing: sharing(fields.take(&["sharing"]).as_deref())?,
                mode: fields.octal("mode", 0o755)?,
                uid: fields.number("uid")?,
                gid: fields.number("gid")?,
            };
            Mount { target, readonly: readonly.unwrap_or(false), kind: MountKind::Cache(cache) }
        }
        "tmpfs" => {
            let target = needed(target, &kind)?;
            let size = fields.take(&["size"]).map(|text| size(&text)).transpose()?;
            Mount { target, readonly: false, kind: MountKind::Tmpfs(Tmpfs { size }) }
        }
        "secret" | "ssh" => secret(&kind, target, &mut fields)?,
        other => return Err(format!("unsupported mount type {other:?}")),
    };
    fields.none_left(&kind)?;
    Ok(mount)
}

fn secret(kind: &str, target: Option<String>, fields: &mut Fields) -> Text<Mount> {
    let is_ssh = kind == "ssh";
    let id = match (fields.take(&["id"]), fields.take(&["source", "src"])) {
        (Some(_), Some(_)) => return Err("both source and id can't be set".to_owned()),
        (id, source) => id.or(source),
    };
    let env = if is_ssh { None } else { fields.take(&["env"]) };
    let required = fields.switch(&["required"])?.unwrap_or(false);
    let (mode, uid, gid) =
        (fields.octal("mode", if is_ssh { 0o600 } else { 0o400 })?, fields.number("uid")?, fields.number("gid")?);
    let id = match (id, &target) {
        (Some(id), _) => id,
        (None, _) if is_ssh => "default".to_owned(),
        (None, Some(target)) => target.rsplit('/').next().unwrap_or_default().to_owned(),
        (None, None) => return Err("a secret needs an id or a target".to_owned()),
    };
    let target = match target {
        Some(target) => target,
        None if is_ssh => "/run/buildkit/ssh_agent.0".to_owned(),
        None if env.is_some() => String::new(),
        None => format!("/run/secrets/{id}"),
    };
    let secret = Secret { id, env, required, mode, uid, gid };
    let kind = if is_ssh { MountKind::Ssh(secret) } else { MountKind::Secret(secret) };
    Ok(Mount { target, readonly: true, kind })
}

fn needed(target: Option<String>, kind: &str) -> Text<String> {
    target.filter(|t| !t.is_empty()).ok_or_else(|| format!("a mount of type {kind} needs a target"))
}

fn sharing(text: Option<&str>) -> Text<CacheSharing> {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("shared") => Ok(CacheSharing::Shared),
        Some("private") => Ok(CacheSharing::Private),
        Some("locked") => Ok(CacheSharing::Locked),
        Some(other) => Err(format!("unsupported sharing value {other:?}")),
    }
}

/// Bytes, with Docker's suffixes.
fn size(text: &str) -> Text<u64> {
    let wrong = || format!("invalid value for size: {text}");
    let lower = text.to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit()).unwrap_or(lower.len());
    let number: u64 = lower[..digits].parse().map_err(|_| wrong())?;
    let shift = match lower[digits..].trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

struct Fields(BTreeMap<String, Option<String>>);

impl Fields {
    fn read(text: &str, expand: &dyn Fn(&str) -> Text<String>) -> Text<Self> {
        let mut fields = BTreeMap::new();
        for field in csv(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field.as_str(), None),
            };
            let key = key.trim().to_ascii_lowercase();
            let value = match value {
                Some(value) if key == "from" => Some(value.to_owned()),
                value => value.map(expand).transpose()?,
            };
            if fields.insert(key.clone(), value).is_some() {
                return Err(format!("field {key:?} is given twice in a mount"));
            }
        }
        Ok(Self(fields))
    }

    fn take(&mut self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.0.remove(*name)).flatten()
    }

    /// A path from the top of whatever it is in.
    fn source(&mut self) -> String {
        crate::ignore::clean(&self.take(&["source", "src"]).unwrap_or_default())
    }

    fn switch(&mut self, names: &[&str]) -> Text<Option<bool>> {
        let Some(value) = names.iter().find_map(|name| self.0.remove(*name)) else { return Ok(None) };
        match value.as_deref() {
            None => Ok(Some(true)),
            Some(text) => {
                let read = parse_bool(text).ok_or_else(|| format!("invalid value {text:?} for {}", names[0]))?;
                Ok(Some(read))
            }
        }
    }

    fn octal(&mut self, name: &str, default: u32) -> Text<u32> {
        let Some(text) = self.take(&[name]) else { return Ok(default) };
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| format!("invalid value {text:?} for {name}"))
    }

    fn number(&mut self, name: &str) -> Text<u32> {
        let Some(text) = self.take(&[name]) else { return Ok(0) };
        text.parse().map_err(|_| format!("invalid value {text:?} for {name}"))
    }

    fn none_left(self, kind: &str) -> Text<()> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("unexpected key {key:?} in a mount of type {kind}")),
        }
    }
}

/// Fields between commas; one in double quotes may have commas.
fn csv(text: &str) -> Text<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        let last = fields.last_mut().expect("there is always one");
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => last.push(c),
        }
    }
    if quoted {
        return Err(format!("a quote is not closed in {text:?}"));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Text<Mount> {
        MountText::new(text.to_owned())?.read(&|value| Ok(value.replace("$uid", "7").replace("$dir", "/d")))
    }

    #[test]
    fn variables_in_values() {
        let MountKind::Cache(cache) = parse("type=cache,target=$dir,uid=$uid").unwrap().kind else { panic!() };
        assert_eq!((cache.id.as_str(), cache.uid), ("/d", 7));
        assert!(parse("target=/a,from=$uid").unwrap_err().contains("define alias stage"));
        assert!(parse("type=cache,target=/a,uid=$dir").is_err());
        assert_eq!(MountText::new("target=$x,from=a".into()).unwrap().from(), Some("a"));
        assert!(MountText::new("target=/a,mode=x".into()).is_err());
    }

    #[test]
    fn kinds() {
        let bind = parse("target=/src,source=a,from=b").unwrap();
        assert!(bind.readonly);
        assert_eq!(bind.kind, MountKind::Bind(Bind { from: Some("b".into()), source: "a".into() }));
        assert!(!parse("type=bind,dst=/x,rw").unwrap().readonly);
        let MountKind::Cache(cache) = parse("type=cache,target=/c,sharing=locked,mode=0700,uid=1").unwrap().kind else {
            panic!()
        };
        assert_eq!((cache.id.as_str(), cache.sharing, cache.mode, cache.uid), ("/c", CacheSharing::Locked, 0o700, 1));
        assert_eq!(
            parse("type=tmpfs,target=/t,size=1m").unwrap().kind,
            MountKind::Tmpfs(Tmpfs { size: Some(1 << 20) })
        );
        assert_eq!(parse("type=secret,id=x").unwrap().target, "/run/secrets/x");
        assert_eq!(parse("type=secret,target=/a/b,required").unwrap().target, "/a/b");
        assert_eq!(parse("type=secret,source=x").unwrap().target, "/run/secrets/x");
        let MountKind::Cache(cache) = parse("type=cache,target=/a/../c/,sharing=LOCKED").unwrap().kind else {
            panic!()
        };
        assert_eq!((cache.id.as_str(), cache.sharing), ("/c", CacheSharing::Locked));
        assert!(matches!(parse("type=ssh").unwrap().kind, MountKind::Ssh(Secret { mode: 0o600, .. })));
        assert_eq!(parse("\"target=/a,b\"").unwrap().target, "/a,b");
    }

    #[test]
    fn mistakes() {
        for wrong in [
            "type=x,target=/a",
            "type=cache",
            "target=",
            "target=/a,nope=1",
            "target=/a,target=/b",
            "type=cache,target=/a,sharing=x",
            "type=cache,target=/a,mode=9",
            "type=tmpfs,target=/a,size=x",
            "type=secret",
            "type=secret,id=a,source=b",
            "\"target=/a",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
