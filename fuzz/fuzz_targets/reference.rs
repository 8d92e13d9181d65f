//! The reference parser never panics, and what it accepts means the same when it is written and read again.
#![no_main]

use gantry_model::{AnyReference, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    drop(AnyReference::parse(text));
    let Ok(reference) = Reference::parse(text) else { return };
    let full = reference.to_string();
    assert_eq!(Reference::parse(&full).as_ref(), Ok(&reference), "{full}");
    assert_eq!(Reference::parse(&reference.familiar()).as_ref(), Ok(&reference), "{}", reference.familiar());
    drop(reference.clone().or_latest());
    drop(reference.with_tag(text));
});
