//! Extraction never panics and never leaves its root. Runs as root, in a directory of its own; headers get their
//! right checksums, without which nothing would get past the first.
#![no_main]

use gantry_image_store::{
    extract::{Limits, extract},
    tar::Archive,
};
use libfuzzer_sys::fuzz_target;
use std::{fs, path::PathBuf, sync::OnceLock};

/// A place whose neighbours must not change.
fn place() -> &'static PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = std::env::temp_dir().join(format!("gantry-fuzz-{}", std::process::id()));
        fs::create_dir_all(place.join("outside")).expect("the place of the runs");
        fs::write(place.join("outside/sentinel"), "untouched").expect("the sentinel");
        place
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut archive = bytes.to_vec();
    for block in archive.chunks_exact_mut(512) {
        if block[148..156] != *b"________" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let root = place().join("root");
    fs::create_dir(&root).expect("an empty root");
    drop(extract(&mut Archive::new(&archive[..]), &root, Limits { bytes: 1 << 30, ..Limits::default() }));
    fs::remove_dir_all(&root).expect("what was extracted can be removed");
    assert_eq!(fs::read(place().join("outside/sentinel")).expect("the sentinel"), b"untouched");
    assert_eq!(fs::read_dir(place()).expect("the place").count(), 1, "something was made beside the root");
});
