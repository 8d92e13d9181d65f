//! Build arguments: what the client gave, what the file declares.

use std::collections::{BTreeMap, BTreeSet};

/// Arguments that need no `ARG`, and that neither the cache nor the history shows without one.
const BUILT_IN: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that the builder reads.
const FOR_THE_BUILDER: [&str; 2] = ["SOURCE_DATE_EPOCH", "BUILDKIT_CONTEXT_KEEP_GIT_DIR"];

/// The arguments in one scope.
#[derive(Debug, Clone, Default)]
pub(crate) struct Args {
    given: BTreeMap<String, Option<String>>,
    /// Of the file's head, with the platform's.
    globals: BTreeMap<String, Option<String>>,
    declared: BTreeMap<String, Option<String>>,
}

impl Args {
    /// Those of the file's head, before any was read.
    pub(crate) fn new(given: BTreeMap<String, Option<String>>, platform: BTreeMap<String, Option<String>>) -> Self {
        Self { given, globals: platform, declared: BTreeMap::new() }
    }

    /// Declares one in the file's head.
    pub(crate) fn declare_global(&mut self, name: &str, default: Option<String>) {
        if default.is_some() || !self.globals.contains_key(name) {
            self.globals.insert(name.to_owned(), default);
        }
    }

    /// The value of one of the head's.
    pub(crate) fn global(&self, name: &str) -> Option<String> {
        let default = self.globals.get(name)?;
        self.given.get(name).cloned().flatten().or_else(|| default.clone())
    }

    /// Declares one in a stage. Without a default it keeps the one that it has, unless the head says another.
    pub(crate) fn declare(&mut self, name: &str, default: Option<String>) {
        let known = self.declared.get(name).is_some_and(Option::is_some);
        let global = self.globals.get(name).is_some_and(Option::is_some);
        if default.is_none() && known && !global {
            return;
        }
        self.declared.insert(name.to_owned(), default);
    }

    /// Declares what the stage below declared.
    pub(crate) fn inherit(&mut self, arguments: BTreeMap<String, Option<String>>) {
        self.declared.extend(arguments);
    }

    /// What the stage declared.
    pub(crate) fn declared(self) -> BTreeMap<String, Option<String>> {
        self.declared
    }

    /// The value of one that is declared in the stage.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let declared = self.declared.get(name);
        if declared.is_none() && !BUILT_IN.contains(&name) {
            return None;
        }
        if let Some(given) = self.given.get(name) {
            return given.clone();
        }
        declared.cloned().flatten().or_else(|| self.globals.get(name).cloned().flatten())
    }

    /// `NAME=value` for commands, sorted; without those for which `hidden` holds because something else has the name.
    pub(crate) fn for_commands(&self, hidden: &dyn Fn(&str) -> bool) -> Vec<String> {
        let names: BTreeSet<&str> = self.declared.keys().map(String::as_str).chain(BUILT_IN).collect();
        let names = names.into_iter().filter(|name| !hidden(name));
        names.filter_map(|name| Some(format!("{name}={}", self.get(name)?))).collect()
    }

    /// Of those, the ones that count: the cache and the history know them.
    pub(crate) fn counted(&self, arguments: &[String]) -> Vec<String> {
        let counts = |pair: &&String| {
            let name = pair.split_once('=').map_or(pair.as_str(), |(name, _)| name);
            self.declared.contains_key(name) || !BUILT_IN.contains(&name)
        };
        arguments.iter().filter(counts).cloned().collect()
    }

    /// Names that were given and that nothing in the file declares.
    pub(crate) fn unused<'a>(&'a self, declared: &BTreeSet<String>) -> Vec<&'a str> {
        let known = |name: &str| {
            declared.contains(name)
                || self.globals.contains_key(name)
                || BUILT_IN.contains(&name)
                || FOR_THE_BUILDER.contains(&name)
        };
        self.given.keys().map(String::as_str).filter(|name| !known(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let some = |text: &str| Some(text.to_owned());
        let given = [("a".to_owned(), some("1")), ("http_proxy".to_owned(), some("p")), ("x".to_owned(), None)].into();
        let mut args = Args::new(given, [("TARGETARCH".to_owned(), some("amd64"))].into());
        args.declare_global("g", some("2"));
        args.declare_global("a", None);
        assert_eq!((args.global("a"), args.global("g"), args.global("none")), (some("1"), some("2"), None));
        assert_eq!((args.get("a"), args.get("g"), args.get("http_proxy")), (None, None, some("p")));
        args.declare("a", some("default"));
        args.declare("g", None);
        args.declare("x", some("default"));
        args.declare("TARGETARCH", None);
        assert_eq!((args.get("a"), args.get("g"), args.get("x")), (some("1"), some("2"), None));
        let commands = args.for_commands(&|name| name == "g");
        assert_eq!(commands, ["TARGETARCH=amd64", "a=1", "http_proxy=p"]);
        assert_eq!(args.counted(&commands), ["TARGETARCH=amd64", "a=1"]);
        assert_eq!(args.unused(&BTreeSet::new()), ["x"]);
        args.declare("own", some("3"));
        args.declare("own", None);
        assert_eq!(args.get("own"), some("3"));
        let mut child = Args::new([("SOURCE_DATE_EPOCH".to_owned(), some("1"))].into(), BTreeMap::new());
        child.inherit(args.declared());
        assert_eq!(child.get("own"), some("3"));
        assert!(child.unused(&BTreeSet::new()).is_empty());
    }
}
