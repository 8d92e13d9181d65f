//! What containers send to their name server, and other servers answer, is read without panics, and answers fit.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| gantry_dns::fuzzing::message(bytes));
