//! Which files of a source a `COPY` or `ADD` means, and where each of them goes.

use crate::digest::{Combined, combined, hex};
use crate::ignore::{Ignore, Verdict};
use crate::pattern::Pattern;
use crate::source::{Entries, Kind, Place, Source, join, resolve, resolve_match};
use gantry_model::{Error, Result};
use std::io;

/// Directories in directories.
const MAX_DEPTH: usize = 1024;
/// Digests that are held at once.
const DIGESTS: usize = 100_000;
/// Files that one pattern may mean.
const MAX_MATCHES: usize = 1_000_000;

/// Something to copy: a directory with everything in it, or one other thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The path as the pattern found it, which its name comes from.
    pub asked: Vec<u8>,
    /// Where that leads.
    pub place: Place,
    /// How many parts of the path are before `/./`, which `--parents` leaves out.
    pub before: usize,
}

impl Selected {
    /// The last part of the path.
    pub fn name(&self) -> &[u8] {
        self.asked.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// What `--parents` keeps of the path.
    pub fn kept(&self) -> &[u8] {
        let start = self.asked.split(|&b| b == b'/').take(self.before).map(|part| part.len() + 1).sum();
        self.asked.get(start..).unwrap_or_default()
    }

    /// What exclusions call it: with `--parents` by the kept path, else a file by its name and a directory not at all.
    pub fn shown(&self, parents: bool) -> &[u8] {
        match (parents, self.is_directory()) {
            (true, _) => self.kept(),
            (false, true) => b"",
            (false, false) => self.name(),
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.place.node.kind == Kind::Directory
    }
}

/// Finds what a path or pattern means. With `deep`, which belongs to `--parents`, a part `**` means any directories.
pub fn select(source: &dyn Source, pattern: &str, deep: bool) -> Result<Vec<Selected>> {
    check_inside(pattern)?;
    let clean = crate::ignore::clean(pattern);
    let before = pattern.split_once("/./").map(|(before, _)| crate::ignore::clean(before));
    let before = before.map_or(0, |text| text.split('/').filter(|part| !part.is_empty()).count());
    let failed = |e: io::Error| Error::invalid(format!("cannot read {pattern} in {}: {e}", source.describe()));
    if !Pattern::is_special(&clean) {
        let place = resolve(source, clean.as_bytes()).map_err(failed)?;
        let place = place.ok_or_else(|| missing(source, &clean))?;
        return Ok(vec![Selected { asked: clean.into_bytes(), place, before }]);
    }
    let mut found = vec![Vec::new()];
    let mut parts = clean.split('/').peekable();
    while let Some(part) = parts.next() {
        let stepped = match part {
            // At the end it is everything in there, of which each is copied with what is in it.
            "**" if deep && parts.peek().is_none() => step(source, found, "*"),
            "**" if deep => directories(source, found),
            part => step(source, found, part),
        };
        found = stepped.map_err(failed)?;
    }
    let mut selected = Vec::new();
    for path in found {
        // A link that leads nowhere is nothing to copy.
        if let Some(place) = resolve_match(source, &path).map_err(failed)? {
            selected.push(Selected { asked: path, place, before });
        }
    }
    if selected.is_empty() {
        return Err(Error::invalid(format!(
            "no source files were specified: {pattern} matches nothing in {}",
            source.describe()
        )));
    }
    Ok(selected)
}

/// From directories to those of their entries that fit one part of a pattern.
fn step(source: &dyn Source, dirs: Vec<Vec<u8>>, part: &str) -> io::Result<Vec<Vec<u8>>> {
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
    let pattern = Pattern::plain(part).map_err(|e| invalid(e.to_string()))?;
    let mut found = Vec::new();
    for dir in dirs {
        if !Pattern::is_special(part) {
            found.push(join(&dir, part.as_bytes()));
            continue;
        }
        let Some(place) = resolve_match(source, &dir)? else { continue };
        if place.node.kind != Kind::Directory {
            continue;
        }
        let names = source.list(&place.path)?;
        found
            .extend(names.iter().filter(|n| pattern.matches(&String::from_utf8_lossy(n))).map(|name| join(&dir, name)));
        if found.len() > MAX_MATCHES {
            return Err(invalid("the pattern matches too many files".to_owned()));
        }
    }
    Ok(found)
}

/// Directories and all those in them; links are not followed.
fn directories(source: &dyn Source, dirs: Vec<Vec<u8>>) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut pending: Vec<(Vec<u8>, usize)> = dirs.into_iter().rev().map(|dir| (dir, 0)).collect();
    while let Some((dir, depth)) = pending.pop() {
        let Some(place) = resolve_match(source, &dir)? else { continue };
        if place.node.kind != Kind::Directory {
            continue;
        }
        if depth > MAX_DEPTH || found.len() > MAX_MATCHES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the pattern matches too many directories"));
        }
        for name in source.list(&place.path)?.into_iter().rev() {
            let is = source.look(&join(&place.path, &name))?.is_some_and(|node| node.kind == Kind::Directory);
            if is {
                pending.push((join(&dir, &name), depth + 1));
            }
        }
        found.push(dir);
    }
    Ok(found)
}

/// A path that its text alone leads out of the context.
fn check_inside(pattern: &str) -> Result<()> {
    let mut depth = 0i64;
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return Err(Error::invalid(format!("forbidden path outside the build context: {pattern} ()")));
        }
    }
    Ok(())
}

fn missing(source: &dyn Source, path: &str) -> Error {
    Error::invalid(format!(
        "file not found in {} or excluded by .dockerignore: stat {path}: file does not exist",
        source.describe()
    ))
}

/// The digest of what was selected, in Docker's form.
pub fn digest(source: &dyn Source, selected: &[Selected], exclude: &Ignore, parents: bool) -> io::Result<String> {
    let mut digests = Vec::new();
    for one in selected {
        digests.push(if one.is_directory() {
            directory(source, one, exclude, parents, DIGESTS)?
        } else {
            format!("file:{}", hex(&source.digest(&one.place.path, &one.place.node)?))
        });
    }
    Ok(if digests.len() == 1 { digests.remove(0) } else { combined("multi", digests.iter()) })
}

/// The digest of a directory: of the sorted digests of everything in it. Where the source says them without reading
/// files, they are asked for several times rather than kept all at once.
fn directory(source: &dyn Source, one: &Selected, exclude: &Ignore, parents: bool, most: usize) -> io::Result<String> {
    let shown = one.shown(parents);
    let mut inside: Vec<[u8; 32]> = Vec::new();
    let again = source.below(&one.place.path)?.is_some();
    let mut count = 0usize;
    visit_all(source, &one.place, shown, exclude, &mut |_, place, digest| {
        count += 1;
        if !again || count <= most {
            inside.push(digest.map_or_else(|| source.digest(&place.path, &place.node), |digest| Ok(*digest))?);
        }
        Ok(())
    })?;
    let mut all = Combined::new();
    if !again || count <= most {
        all.add_sorted(&mut inside);
        return Ok(all.finish("dir"));
    }
    // Digests are spread evenly, so that equal ranges have about as many.
    let rounds = u32::try_from(count / most + 1).unwrap_or(u32::MAX).saturating_mul(2);
    for round in 0..rounds {
        let of = |digest: &[u8; 32]| {
            let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
            (u64::from(first) * u64::from(rounds)) >> 32 == u64::from(round)
        };
        inside.clear();
        visit_all(source, &one.place, shown, exclude, &mut |_, _, digest| {
            inside.extend(digest.filter(|digest| of(digest)));
            Ok(())
        })?;
        all.add_sorted(&mut inside);
    }
    Ok(all.finish("dir"))
}

/// Everything in a directory, each directory before what is in it: the path from there, and the place. What is left
/// out is said by paths that begin with `shown`.
pub fn walk(
    source: &dyn Source,
    top: &Place,
    shown: &[u8],
    exclude: &Ignore,
    visit: &mut dyn FnMut(&[u8], &Place) -> io::Result<()>,
) -> io::Result<()> {
    visit_all(source, top, shown, exclude, &mut |path, place, _| visit(path, place))
}

/// Gets a path, what is there and, where that is known, its digest.
type Visit<'v> = dyn FnMut(&[u8], &Place, Option<&[u8; 32]>) -> io::Result<()> + 'v;

fn visit_all(
    source: &dyn Source,
    top: &Place,
    shown: &[u8],
    exclude: &Ignore,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    let verdict = exclude.verdict(&String::from_utf8_lossy(shown));
    if verdict.ignored && !exclude.has_exceptions() {
        return Ok(());
    }
    if let Some(entries) = source.below(&top.path)? {
        return stream(entries, &top.path, shown, exclude, verdict, visit);
    }
    let length = if shown.is_empty() { 0 } else { shown.len() + 1 };
    let mut visit = |path: &[u8], place: &Place| visit(&path[length..], place, None);
    below(source, &top.path, shown, exclude, &verdict, 0, &mut visit)
}

/// The walk of a source that walks itself.
fn stream(
    entries: Entries<'_>,
    top: &[u8],
    shown: &[u8],
    exclude: &Ignore,
    verdict: Verdict,
    visit: &mut Visit<'_>,
) -> io::Result<()> {
    let start = if top.is_empty() { 0 } else { top.len() + 1 };
    // What was said of the directories on the way down, by the lengths of their paths.
    let mut above = vec![(0, verdict)];
    for entry in entries {
        let (path, node, digest) = entry?;
        let relative = path.get(start..).unwrap_or_default();
        let parent = relative.iter().rposition(|&b| b == b'/').unwrap_or(0);
        while above.len() > 1 && above.last().is_some_and(|(length, _)| *length > parent) {
            above.pop();
        }
        let said = if exclude.is_empty() {
            Verdict::default()
        } else {
            let (_, parent) = above.last().expect("the top is never taken off");
            exclude.look(parent, &String::from_utf8_lossy(&join(shown, relative)))
        };
        let (length, directory, ignored) = (relative.len(), node.kind == Kind::Directory, said.ignored);
        if !ignored {
            let relative = relative.to_vec();
            visit(&relative, &Place { path, node }, Some(&digest))?;
        }
        if directory && !exclude.is_empty() {
            above.push((length, said));
        }
    }
    Ok(())
}

fn below(
    source: &dyn Source,
    dir: &[u8],
    shown: &[u8],
    exclude: &Ignore,
    verdict: &Verdict,
    depth: usize,
    visit: &mut dyn FnMut(&[u8], &Place) -> io::Result<()>,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::new(io::ErrorKind::InvalidFilename, "directories are nested too deeply"));
    }
    for name in source.list(dir)? {
        let (path, relative) = (join(dir, &name), join(shown, &name));
        let said = exclude.look(verdict, &String::from_utf8_lossy(&relative));
        let Some(node) = source.look(&path)? else { continue };
        let is_directory = node.kind == Kind::Directory;
        if !said.ignored {
            visit(&relative, &Place { path: path.clone(), node })?;
        }
        if is_directory && (!said.ignored || exclude.has_exceptions()) {
            below(source, &path, &relative, exclude, &said, depth + 1, visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Node;
    use crate::tree::{Builder, Entry, Tree};
    use std::io::Read;
    use std::sync::Arc;

    struct Files(Tree);

    impl Source for Files {
        fn look(&self, path: &[u8]) -> io::Result<Option<Node>> {
            if path.is_empty() {
                return Ok(Some(Entry::directory().node));
            }
            Ok(self.0.get(path)?.map(|entry| entry.node))
        }
        fn list(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
            self.0.list(path)
        }
        fn open(&self, _: &[u8], _: &Node) -> io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(io::empty()))
        }
        fn digest(&self, path: &[u8], _: &Node) -> io::Result<[u8; 32]> {
            let mut digest = [0; 32];
            digest[0] = path.len() as u8;
            Ok(digest)
        }
        fn describe(&self) -> String {
            "build context".into()
        }
    }

    fn files(list: &[(&str, Kind)]) -> Files {
        let mut tree = Builder::new(Arc::new(tempfile::tempfile));
        for (path, kind) in list {
            let mut entry = Entry::directory();
            entry.node.kind = kind.clone();
            tree.add(path.as_bytes(), entry).unwrap();
        }
        Files(tree.finish().unwrap())
    }

    fn example() -> Files {
        let link = |to: &str| Kind::Link(to.as_bytes().to_vec());
        files(&[
            ("a/x.txt", Kind::File(1)),
            ("a/y.txt", Kind::File(1)),
            ("a/b/z", Kind::File(1)),
            ("out", link("/../../etc/passwd")),
            ("in", link("a")),
            ("in2", link("/in/b")),
            ("loop", link("loop")),
            ("etc/passwd", Kind::File(1)),
        ])
    }

    fn names(pattern: &str) -> Result<Vec<(String, String)>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(select(&example(), pattern, false)?.iter().map(|s| (text(&s.asked), text(&s.place.path))).collect())
    }

    #[test]
    fn paths_and_patterns() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(names("a/x.txt").unwrap(), [pair("a/x.txt", "a/x.txt")]);
        assert_eq!(names("/a/../a").unwrap(), [pair("a", "a")]);
        assert_eq!(names(".").unwrap(), [pair("", "")]);
        assert_eq!(names("a/*.txt").unwrap().len(), 2);
        assert_eq!(
            names("*/x.txt").unwrap().iter().map(|(a, _)| a.as_str()).collect::<Vec<_>>(),
            ["a/x.txt", "in/x.txt"]
        );
        assert_eq!(names("in/x.txt").unwrap(), [pair("in/x.txt", "a/x.txt")]);
        assert_eq!(names("in2/z").unwrap(), [pair("in2/z", "a/b/z")]);
        // A link that leads out of the context ends at its top.
        assert_eq!(names("out").unwrap(), [pair("out", "etc/passwd")]);
    }

    #[test]
    fn parents_are_kept_from_a_point_on() {
        let kept = |pattern| select(&example(), pattern, true).unwrap()[0].kept().to_vec();
        assert_eq!(kept("a/b/z"), b"a/b/z");
        assert_eq!(kept("a/./b/z"), b"b/z");
        assert_eq!(kept("./a/b/z"), b"a/b/z");
        assert_eq!(kept("a/./*.txt"), b"x.txt");
    }

    #[test]
    fn any_depth_with_parents() {
        let found = |pattern: &str| -> Vec<String> {
            let selected = select(&example(), pattern, true).unwrap();
            selected.iter().map(|one| String::from_utf8_lossy(one.kept()).into_owned()).collect()
        };
        assert_eq!(found("**/*.txt"), ["a/x.txt", "a/y.txt"]);
        assert_eq!(found("./a/**/z"), ["a/b/z"]);
        assert_eq!(found("a/./**/*"), ["b", "x.txt", "y.txt", "b/z"]);
        assert_eq!(found("a/**"), ["a/b", "a/x.txt", "a/y.txt"]);
        assert!(select(&example(), "**/nope", true).is_err());
    }

    #[test]
    fn exclusions_begin_at_the_kept_path() {
        let files = example();
        let seen = |exclude: &[&str]| {
            let exclude = Ignore::of(&exclude.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
            let one = select(&files, "a", true).unwrap().remove(0);
            let mut seen = Vec::new();
            let mut visit = |path: &[u8], _: &Place| {
                seen.push(String::from_utf8_lossy(path).into_owned());
                Ok(())
            };
            walk(&files, &one.place, one.shown(true), &exclude, &mut visit).unwrap();
            seen
        };
        assert_eq!(seen(&["a/*.txt"]), ["b", "b/z"]);
        assert_eq!(seen(&["*.txt", "b"]).len(), 4);
        assert!(seen(&["a"]).is_empty());
        assert_eq!(seen(&["a", "!a/b"]), ["b", "b/z"]);
    }

    /// The same, but it walks itself.
    struct Streamed(Files);

    impl Source for Streamed {
        fn look(&self, path: &[u8]) -> io::Result<Option<Node>> {
            self.0.look(path)
        }
        fn list(&self, _: &[u8]) -> io::Result<Vec<Vec<u8>>> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn open(&self, _: &[u8], _: &Node) -> io::Result<Box<dyn Read + '_>> {
            Ok(Box::new(io::empty()))
        }
        fn digest(&self, _: &[u8], _: &Node) -> io::Result<[u8; 32]> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn describe(&self) -> String {
            String::new()
        }
        fn below(&self, dir: &[u8]) -> io::Result<Option<Entries<'_>>> {
            let all = self.0.0.below(dir)?.map(|entry| {
                let (path, entry) = entry?;
                let digest = self.0.digest(&path, &entry.node)?;
                Ok((path, entry.node, digest))
            });
            Ok(Some(Box::new(all)))
        }
    }

    #[test]
    fn both_ways_to_walk_are_one() {
        let streamed = Streamed(example());
        for (dir, shown, exclude) in [
            ("", "", &[][..]),
            ("", "", &["a"]),
            ("a", "", &["b"]),
            ("a", "x/a", &["x/a/*.txt"]),
            ("", "", &["a", "!a/b/z"]),
            ("", "", &["**/z"]),
            ("a", "a", &["a", "!a/b"]),
        ] {
            let exclude = Ignore::of(&exclude.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).unwrap();
            let seen = |source: &dyn Source| {
                let mut seen = Vec::new();
                let top = resolve(source, dir.as_bytes()).unwrap().unwrap();
                let mut visit = |path: &[u8], place: &Place| {
                    seen.push((String::from_utf8_lossy(path).into_owned(), place.path.clone()));
                    Ok(())
                };
                walk(source, &top, shown.as_bytes(), &exclude, &mut visit).unwrap();
                seen.sort();
                seen
            };
            assert_eq!(seen(&example()), seen(&streamed), "{dir} {exclude:?}");
            let one = select(&example(), if dir.is_empty() { "." } else { dir }, false).unwrap().remove(0);
            let whole = directory(&example(), &one, &exclude, false, 1000).unwrap();
            assert!((1..8).all(|most| directory(&streamed, &one, &exclude, false, most).unwrap() == whole));
        }
    }

    #[test]
    fn nothing_there() {
        let message = |pattern| names(pattern).unwrap_err().message().to_owned();
        assert_eq!(
            message("nope"),
            "file not found in build context or excluded by .dockerignore: stat nope: file does not exist"
        );
        assert!(message("n*").starts_with("no source files were specified"));
        assert_eq!(message("../x"), "forbidden path outside the build context: ../x ()");
        assert_eq!(message("a/../../x"), "forbidden path outside the build context: a/../../x ()");
        assert!(message("loop").contains("too many links"));
        assert!(message("[").contains("syntax error"));
    }

    #[test]
    fn walks_leave_out_what_is_excluded() {
        let files = example();
        let top = resolve(&files, b"a").unwrap().unwrap();
        let mut seen = Vec::new();
        let exclude = Ignore::of(&["*.txt".into(), "!y.txt".into()]).unwrap();
        walk(&files, &top, b"", &exclude, &mut |path, _| {
            seen.push(String::from_utf8_lossy(path).into_owned());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, ["b", "b/z", "y.txt"]);
        let all = digest(&files, &select(&files, "a", false).unwrap(), &Ignore::default(), false).unwrap();
        let some = digest(&files, &select(&files, "a", false).unwrap(), &exclude, false).unwrap();
        assert!(all.starts_with("dir:") && all != some);
        assert!(digest(&files, &select(&files, "a/*", false).unwrap(), &exclude, false).unwrap().starts_with("multi:"));
    }
}
