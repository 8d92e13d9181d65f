//! Ignore rules and paths of anybody: never a panic, and a walk from the top says the same as a look at one path.
#![no_main]

use gantry_image_builder::Ignore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (rules, path) = input;
    let Ok(rules) = Ignore::parse(rules) else { return };
    let said = rules.ignores(path);
    let mut verdict = rules.top();
    if path.is_empty() {
        // The top, which no rule is about.
        return assert!(!said);
    }
    for at in path.char_indices().filter(|(_, c)| *c == '/').map(|(at, _)| at).chain([path.len()]) {
        verdict = rules.look(&verdict, &path[..at]);
    }
    assert_eq!(said, verdict.ignored, "{path}");
    if rules.is_empty() {
        assert!(!said);
    }
});
