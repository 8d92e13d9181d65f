//! The rules of the house that the compiler does not know: which room may use which, where `unsafe`
//! may stand, how long a file may be, and under which licences the dependencies are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which rooms a room may use; ARCHITECTURE.md has the picture. Siblings never use each other.
const ARROWS: [(&str, &[&str]); 21] = [
    ("gantry", &["http-api", "engine", "log-drivers", "network", "linux", "model"]),
    ("http-api", &["engine", "api-types", "model"]),
    (
        "engine",
        &[
            "image-store",
            "registry-client",
            "image-builder",
            "network",
            "dns",
            "volumes",
            "plugins",
            "runtime",
            "shim-protocol",
            "container-logs",
            "log-drivers",
            "api-types",
            "linux",
            "state-db",
            "model",
        ],
    ),
    ("shim", &["shim-protocol", "container-logs", "forwarder", "runtime", "linux", "model"]),
    ("image-store", &["linux", "state-db", "model"]),
    ("registry-client", &["tls-trust", "model"]),
    ("image-builder", &["state-db", "model"]),
    ("network", &["linux", "state-db", "model"]),
    ("dns", &["linux", "model"]),
    ("forwarder", &["linux", "model"]),
    ("volumes", &["linux", "state-db", "model"]),
    ("plugins", &["tls-trust", "model"]),
    ("runtime", &["linux", "state-db", "model"]),
    ("shim-protocol", &["linux", "model"]),
    ("container-logs", &["linux", "model"]),
    ("log-drivers", &["container-logs", "tls-trust", "linux", "model"]),
    ("tls-trust", &[]),
    ("linux", &["model"]),
    ("state-db", &["model"]),
    ("api-types", &["model"]),
    ("model", &[]),
];

/// The rooms in which `unsafe` may stand.
const UNSAFE: [&str; 3] = ["linux", "shim", "runtime"];

/// Above this, a file does more than one thing.
const LONGEST_FILE: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two levels down").to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The rooms, by the names of their directories.
fn rooms() -> BTreeSet<String> {
    let entries = fs::read_dir(root().join("crates")).expect("crates/ is there");
    entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
}

/// The rooms that `room` names below `[dependencies]`. Tests may use more: they are not shipped.
fn used(room: &str) -> BTreeSet<String> {
    let manifest = read(&root().join("crates").join(room).join("Cargo.toml"));
    let mut section = String::new();
    let mut used = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            line.clone_into(&mut section);
        } else if section.ends_with("dependencies]") && !section.contains("dev-") {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            used.extend(name.strip_prefix("gantry-").map(str::to_owned));
        }
    }
    used
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources_of(room: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join("crates").join(room), &mut found);
    found
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for room in rooms() {
        let Some(allowed) = arrows.get(room.as_str()) else {
            wrong.push(format!("{room} is a room without arrows: say in this test what it may use"));
            continue;
        };
        wrong.extend(
            used(&room)
                .iter()
                .filter(|other| !allowed.contains(&other.as_str()))
                .map(|other| format!("{room} -> {other}")),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_keeps_the_lints_of_the_house() {
    for room in rooms() {
        let manifest = read(&root().join("crates").join(&room).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{room}: [lints] workspace = true is missing");
    }
}

#[test]
fn unsafe_stands_only_where_it_may() {
    // Put together, so that this file does not find itself.
    let marks = [concat!("allow(unsafe", "_code)"), concat!("expect(unsafe", "_code)")];
    let mut wrong = Vec::new();
    for room in rooms().iter().filter(|room| !UNSAFE.contains(&room.as_str())) {
        let files = sources_of(room).into_iter().filter(|file| marks.iter().any(|mark| read(file).contains(mark)));
        wrong.extend(files.map(|file| file.display().to_string()));
    }
    assert!(wrong.is_empty(), "unsafe belongs into {UNSAFE:?}, not into:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_readable() {
    let mut wrong = Vec::new();
    for room in rooms() {
        for file in sources_of(&room) {
            let lines = read(&file).lines().count();
            if lines > LONGEST_FILE {
                wrong.push(format!("{}: {lines} lines", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "longer than {LONGEST_FILE} lines:\n{}", wrong.join("\n"));
}

#[test]
fn licences_are_those_of_deny_toml() {
    let allowed = allowed_licences();
    assert!(allowed.contains("MIT") && !allowed.contains("GPL-3.0"), "deny.toml was not understood: {allowed:?}");
    let packages = packages();
    let wrong: Vec<_> = packages.iter().filter(|(_, licence)| !permitted(licence, &allowed)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn banned_packages_stay_out() {
    let banned: BTreeSet<String> = read(&root().join("deny.toml"))
        .lines()
        .filter_map(|line| Some(line.trim().strip_prefix("{ name = \"")?.split('"').next()?.to_owned()))
        .collect();
    assert!(banned.contains("openssl-sys"), "deny.toml was not understood: {banned:?}");
    let packages = packages();
    let found: Vec<_> = packages.keys().filter(|name| banned.contains(*name)).collect();
    assert!(found.is_empty(), "banned in deny.toml: {found:?}");
}

/// Every package that is really built, with its licence. `cargo metadata` would also list what only
/// switched-off features name.
fn packages() -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}\t{l}"])
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.trim_end_matches(" (*)").split_once('\t'));
    let packages: BTreeMap<_, _> = lines
        .map(|(package, licence)| (package.split(' ').next().unwrap_or_default().to_owned(), licence.to_owned()))
        .collect();
    assert!(packages.contains_key("rustls"), "cargo tree was not understood: {packages:?}");
    packages
}

/// The words of the list `allow` below `[licenses]` in deny.toml.
fn allowed_licences() -> BTreeSet<String> {
    let text = read(&root().join("deny.toml"));
    let (_, licences) = text.split_once("[licenses]").expect("deny.toml has the section");
    let (_, list) = licences.split_once("allow = [").expect("and the list");
    let (list, _) = list.split_once(']').expect("which ends");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// SPDX, as far as it occurs: AND binds tighter than OR, parentheses, WITH as part of a name, and
/// the old `/` for OR.
fn permitted(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let holds = either(&mut words, allowed);
    holds && words.next().is_none()
}

type Words<'a, 'b> = &'b mut std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: Words<'_, '_>, allowed: &BTreeSet<String>) -> bool {
    let mut holds = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        // Both sides are read whatever the first says.
        holds |= both(words, allowed);
    }
    holds
}

fn both(words: Words<'_, '_>, allowed: &BTreeSet<String>) -> bool {
    let mut holds = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        holds &= one(words, allowed);
    }
    holds
}

fn one(words: Words<'_, '_>, allowed: &BTreeSet<String>) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let holds = either(words, allowed);
        return holds && words.next_if_eq(&")").is_some();
    }
    let Some(name) = words.next() else { return false };
    if words.next_if_eq(&"WITH").is_some() {
        return words.next().is_some_and(|exception| allowed.contains(&format!("{name} WITH {exception}")));
    }
    allowed.contains(name)
}

#[test]
fn licence_expressions_are_understood() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "A WITH B"].map(str::to_owned).into();
    for good in ["MIT", "MIT OR GPL", "GPL OR MIT AND ISC", "(GPL OR MIT) AND ISC", "GPL/MIT", "A WITH B"] {
        assert!(permitted(good, &allowed), "{good}");
    }
    for bad in ["GPL", "MIT AND GPL", "(MIT", "A", "A WITH C", "", "MIT ISC"] {
        assert!(!permitted(bad, &allowed), "{bad}");
    }
}
