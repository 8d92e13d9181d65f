//! The archive reader never panics, and never returns more data than the stream has.
#![no_main]

use gantry_image_store::tar::Archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut archive = Archive::new(bytes);
    let mut total = 0;
    while let Ok(Some(entry)) = archive.next_entry() {
        let mut data = 0;
        while let Ok(piece) = archive.data() {
            let length = piece.len();
            if length == 0 {
                break;
            }
            archive.consume(length);
            data += length as u64;
        }
        assert!(data <= entry.size);
        total += data;
    }
    assert!(total <= bytes.len() as u64);
});
