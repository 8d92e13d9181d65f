//! A container's name: the client's, or a generated one.

use super::words::{PEOPLE, QUALITIES};
use crate::container::Registry;
use gantry_model::names::{RESTRICTED_NAME_CHARS, is_restricted_name};
use gantry_model::{Error, Id, Result};

/// Attempts at a name without a number; the words make 4096.
const PLAIN_ATTEMPTS: u32 = 6;
const ATTEMPTS: u32 = 30;

/// A name that is reserved until it is given back or the container is in the registry.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    registry: &'a Registry,
    id: Id,
    pub(super) name: String,
    keep: bool,
}

impl<'a> Reservation<'a> {
    /// Reserves the client's name, or finds a free one.
    pub(super) fn new(registry: &'a Registry, id: Id, wanted: Option<&str>) -> Result<Self> {
        let name = match wanted.filter(|name| !name.is_empty()) {
            Some(wanted) => {
                let name = check(wanted)?;
                registry.reserve_name(name, id)?;
                name.to_owned()
            }
            None => generated(registry, id)?,
        };
        Ok(Self { registry, id, name, keep: false })
    }

    /// The container is in the registry and owns the name.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.keep {
            self.registry.release_name(&self.name, self.id);
        }
    }
}

/// The name without a leading slash, if it is one.
fn check(text: &str) -> Result<&str> {
    let name = text.strip_prefix('/').unwrap_or(text);
    if is_restricted_name(name) {
        return Ok(name);
    }
    Err(Error::invalid(format!("Invalid container name ({text}), only {RESTRICTED_NAME_CHARS} are allowed")))
}

fn generated(registry: &Registry, id: Id) -> Result<String> {
    for attempt in 0..ATTEMPTS {
        let name = generate(attempt >= PLAIN_ATTEMPTS);
        if registry.reserve_name(&name, id).is_ok() {
            return Ok(name);
        }
    }
    let name = id.short();
    registry.reserve_name(&name, id).map(|()| name)
}

/// `calm_brunel`, or `calm_brunel42`.
fn generate(numbered: bool) -> String {
    let random = Id::random();
    let bytes = random.as_bytes();
    let pick = |words: &[&'static str; 64], byte: u8| words[usize::from(byte) % 64];
    let (quality, person) = (pick(&QUALITIES, bytes[0]), pick(&PEOPLE, bytes[1]));
    if numbered { format!("{quality}_{person}{}", bytes[2]) } else { format!("{quality}_{person}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn generated_names_are_names_and_differ() {
        let words: HashSet<_> = QUALITIES.iter().chain(&PEOPLE).collect();
        assert_eq!(words.len(), 128, "a word is there twice");
        let registry = Registry::default();
        let mut names = HashSet::new();
        for _ in 0..5000 {
            let reservation = Reservation::new(&registry, Id::random(), None).unwrap();
            assert!(is_restricted_name(&reservation.name), "{}", reservation.name);
            assert!(names.insert(reservation.name.clone()), "{} twice", reservation.name);
            reservation.keep();
        }
    }

    #[test]
    fn a_reservation_is_given_back() {
        let registry = Registry::default();
        let reservation = Reservation::new(&registry, Id::random(), Some("/web")).unwrap();
        assert_eq!(reservation.name, "web");
        assert!(Reservation::new(&registry, Id::random(), Some("web")).is_err());
        drop(reservation);
        assert!(Reservation::new(&registry, Id::random(), Some("web")).is_ok());
    }

    #[test]
    fn docker_s_words_for_a_bad_name() {
        for bad in ["a", "-ab", "a b", "a/b"] {
            let message = check(bad).unwrap_err().to_string();
            assert_eq!(message, format!("Invalid container name ({bad}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"));
        }
    }
}
