//! Dockerfiles of anybody: never a panic; what is read has stages, and a mistake has a place in the text.
#![no_main]

use gantry_image_builder::Dockerfile;
use gantry_image_builder::dockerfile::Expander;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Dockerfile::parse("Dockerfile", text.as_bytes()) {
        Ok(file) => {
            assert!(!file.stages.is_empty());
            for stage in &file.stages {
                let variables = |name: &str| (name.len() % 2 == 0).then(|| "a/b.c".repeat(name.len() % 7));
                let _ = Expander::new(file.escape).word(&stage.image, &variables);
                let _ = Expander::new(file.escape).text().word(&stage.text, &variables);
                assert!(stage.line <= text.lines().count());
            }
        }
        Err(e) => assert!(e.line <= text.lines().count() && !e.message.is_empty()),
    }
    let _ = Dockerfile::triggers("image", &[text.to_owned()]);
});
