//! Platforms, `os/arch[/variant]`: reading them, and which images of an index run on one.
//!
//! The rules and error texts are those of containerd's `platforms` package, which Docker uses.

use crate::Error;
use std::{fmt, str::FromStr};

/// What an image was built for. Always normalised: `amd64`, never `x86_64`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// As Go calls it.
    pub os: String,
    /// As Go calls it.
    pub architecture: String,
    /// Of the architecture; may be empty.
    pub variant: String,
}

/// The operating systems that a lone word can mean.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

/// The architectures that a lone word can mean, after normalisation.
const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

impl Platform {
    /// A platform from the words of an image or an index.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let (architecture, variant) = normalise(architecture, variant);
        Self { os, architecture, variant }
    }

    /// The machine that this runs on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "")
    }

    /// How well an image for `offered` runs here: the lower the better, `None` when it does not run at all.
    pub fn suitability(&self, offered: &Self) -> Option<usize> {
        if self.os != offered.os {
            return None;
        }
        self.acceptable().iter().position(|(architecture, variant)| {
            *architecture == offered.architecture && *variant == full_variant(&offered.architecture, &offered.variant)
        })
    }

    /// Architectures and variants whose programs run here, the best first.
    fn acceptable(&self) -> Vec<(&str, String)> {
        let variant = full_variant(&self.architecture, &self.variant);
        let number = variant.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok());
        let mut all = vec![(self.architecture.as_str(), variant)];
        let down_to = |from: u32, lowest: u32| (lowest..from).rev().map(|n| format!("v{n}"));
        match (self.architecture.as_str(), number) {
            ("amd64", number) => {
                let lower = number.into_iter().filter(|&n| n > 1).flat_map(|n| down_to(n, 2));
                all.extend(lower.map(|variant| ("amd64", variant)));
                if number.is_some() {
                    all.push(("amd64", String::new()));
                }
                all.push(("386", String::new()));
            }
            ("arm", Some(number)) => all.extend(down_to(number, 5).map(|variant| ("arm", variant))),
            ("arm64", Some(number)) => {
                all.extend(down_to(number, 8).map(|variant| ("arm64", variant)));
                all.extend(down_to(9, 5).map(|variant| ("arm", variant)));
            }
            _ => {}
        }
        all
    }
}

/// The spelling that Go uses.
fn normalise(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386" | "i686" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        ("powerpc64le", variant) => ("ppc64le", variant),
        (architecture, variant) => (architecture, variant),
    };
    (architecture.to_owned(), variant.to_owned())
}

/// The variant that no variant means.
fn full_variant(architecture: &str, variant: &str) -> String {
    match (architecture, variant) {
        ("arm64", "") => "v8".to_owned(),
        (_, variant) => variant.to_owned(),
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// Reads `os`, `arch`, `os/arch` and `os/arch/variant`; what is missing is the machine's own.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::invalid(format!("{text:?}: {why}: invalid argument"));
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if let Some(bad) = parts.iter().find(|part| !word(part)) {
            let why = format!("{bad:?} is an invalid component of {text:?}: platform specifier component must match");
            return Err(Error::invalid(format!("{why} \"^[A-Za-z0-9_-]+$\": invalid argument")));
        }
        let host = Self::host();
        match *parts.as_slice() {
            [word] => {
                let os = Self::new(word, &host.architecture, &host.variant);
                if SYSTEMS.contains(&os.os.as_str()) {
                    return Ok(os);
                }
                let architecture = Self::new(&host.os, word, "");
                if ARCHITECTURES.contains(&architecture.architecture.as_str()) {
                    return Ok(architecture);
                }
                Err(refused("unknown operating system or architecture"))
            }
            [os, architecture] => Ok(Self::new(os, architecture, "")),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant)),
            _ => Err(refused("cannot parse platform specifier")),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    fn parse(text: &str) -> String {
        text.parse::<Platform>().map_or_else(|e| e.to_string(), |p| p.to_string())
    }

    #[test]
    fn reads_what_docker_reads() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/amd64/v1", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("s390x", "linux/s390x"),
            ("foo", "\"foo\": unknown operating system or architecture: invalid argument"),
            ("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier: invalid argument"),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse("windows"), format!("windows/{}", Platform::host().architecture));
        assert!(parse("linux//v7").contains("is an invalid component"));
    }

    #[test]
    fn the_best_of_an_index() {
        let best = |wanted: &str, offered: &[&str]| {
            let wanted: Platform = wanted.parse().unwrap();
            let offered = offered.iter().filter_map(|text| {
                let offer: Platform = text.parse().unwrap();
                Some((wanted.suitability(&offer)?, offer.to_string()))
            });
            offered.min_by_key(|(rank, _)| *rank).map(|(_, text)| text)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(best("linux/amd64", &["linux/386", "linux/amd64"]), some("linux/amd64"));
        assert_eq!(best("linux/amd64", &["linux/arm64", "linux/386"]), some("linux/386"));
        assert_eq!(best("linux/amd64", &["windows/amd64", "linux/amd64/v2"]), None);
        assert_eq!(best("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2"]), some("linux/amd64/v2"));
        assert_eq!(best("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"]), some("linux/arm64"));
        assert_eq!(best("linux/arm64", &["linux/arm/v5", "linux/arm/v7"]), some("linux/arm/v7"));
        assert_eq!(best("linux/arm/v6", &["linux/arm/v7", "linux/arm/v5"]), some("linux/arm/v5"));
        assert_eq!(best("linux/386", &["linux/amd64"]), None);
    }
}
