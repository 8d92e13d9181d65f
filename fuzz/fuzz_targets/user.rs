//! Users and groups of an image's own files: never a panic, whatever the files and the request say.
#![no_main]

use gantry_runtime::fuzzing::resolve_user;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str, Vec<String>)| {
    let (passwd, group, spec, additional) = input;
    let found = resolve_user(passwd, group, spec, &additional);
    // Numbers (in Go's eyes: `-0` is one) need no entry; nothing else may be found in empty files. What follows a second colon is
    // ignored, as in runc.
    if found && additional.is_empty() && !spec.is_empty() && passwd.is_empty() && group.is_empty() {
        let parts = spec.split(':').take(2).filter(|part| !part.is_empty());
        assert!(parts.into_iter().all(|part| part.parse::<i64>().is_ok()), "{spec}");
    }
});
