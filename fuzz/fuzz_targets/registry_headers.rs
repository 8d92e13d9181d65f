//! What registries write into headers is read without panics, and what is read makes sense.
#![no_main]

// The file alone: the crate would bring its TLS along.
#[allow(dead_code)]
#[path = "../../crates/registry-client/src/headers.rs"]
mod headers;

use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|text: &str| {
    for challenge in headers::parse_challenges(text) {
        assert!(!challenge.scheme.is_empty());
        assert!(challenge.parameter("realm").len() <= text.len());
    }
    if let Some(url) = headers::next_link(text) {
        assert!(text.contains(url));
    }
    if let Some(headers::ContentRange { range: Some((first, last)), total }) = headers::content_range(text) {
        assert!(first <= last && total.is_none_or(|total| last < total));
    }
    headers::parse_retry_after(text, Duration::from_secs(1 << 31));
});
