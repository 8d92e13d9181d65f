//! The filter `reference` of the list.

use super::glob::Pattern;
use crate::filters::Filters;
use gantry_image_store::Image;
use gantry_model::{Error, Reference, Result};

/// The patterns that were asked for.
#[derive(Debug)]
pub(super) struct References(Vec<Pattern>);

impl References {
    pub(super) fn parse(filters: &Filters) -> Result<Self> {
        let parse = |text| Pattern::parse(text).ok_or_else(|| Error::invalid("syntax error in pattern"));
        Ok(Self(filters.get("reference").map(parse).collect::<Result<_>>()?))
    }

    /// The tags and digests of an image that are to be shown; `None` when a pattern was asked for that none fits.
    pub(super) fn select(&self, image: &Image) -> Option<(Vec<String>, Vec<String>)> {
        if self.0.is_empty() {
            return Some((image.repo_tags.clone(), image.repo_digests.clone()));
        }
        let fitting = |names: &[String]| names.iter().filter(|name| self.fits(name)).cloned().collect::<Vec<_>>();
        let (tags, digests) = (fitting(&image.repo_tags), fitting(&image.repo_digests));
        (!tags.is_empty() || !digests.is_empty()).then_some((tags, digests))
    }

    /// A pattern is held against the short form with and without tag. The full forms count as well, so that a name as
    /// a registry's client writes it finds its image.
    fn fits(&self, name: &str) -> bool {
        let Ok(reference) = Reference::parse(name) else { return false };
        let forms = [reference.familiar(), reference.familiar_name(), reference.to_string(), reference.name()];
        self.0.iter().any(|pattern| forms.iter().any(|form| pattern.matches(form)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(patterns: &[&str]) -> Result<References> {
        let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        References::parse(&Filters([("reference".to_owned(), patterns)].into()))
    }

    #[test]
    fn names() {
        for (pattern, name, wanted) in [
            ("busybox", "busybox:1", true),
            ("busybox:1", "busybox:1", true),
            ("busybox:2", "busybox:1", false),
            ("busy*", "busybox:1", true),
            ("*/busybox", "team/busybox:1", true),
            ("busybox", "team/busybox:1", false),
            ("docker.io/library/busybox", "busybox:1", true),
        ] {
            assert_eq!(references(&[pattern]).unwrap().fits(name), wanted, "{pattern} {name}");
        }
        assert_eq!(references(&["a", "["]).unwrap_err().to_string(), "syntax error in pattern");
    }
}
