//! Importing, finding and keeping images.

mod common;

use common::{Bench, file, small};
use gantry_image_store::{Compression, ImportOptions, import_name};
use gantry_model::ErrorKind;
use std::{
    fs,
    io::{Read, Write},
};

#[test]
fn an_import_is_an_image_also_after_a_restart() {
    let bench = Bench::new();
    let options = ImportOptions {
        name: import_name("", "hello:latest").unwrap(),
        changes: vec!["CMD [\"/bin/sh\"]".into(), "ENV A=b".into()],
        source: "-".into(),
        ..ImportOptions::default()
    };
    let id = bench.store.import(&mut small("hi").as_slice(), options, &mut |_| ()).unwrap();
    let bench = bench.reopen();
    let image = bench.store.resolve("hello").unwrap();
    assert_eq!((&image.id, image.repo_tags.as_slice(), image.size), (&id, &["hello:latest".to_owned()][..], 2));
    assert_eq!(image.document.comment, "Imported from -");
    assert_eq!(image.document.config.cmd.as_deref(), Some(&["/bin/sh".to_owned()][..]));
    assert_eq!(fs::read_to_string(bench.store.rootfs(&image)[0].join("file")).unwrap(), "hi");
    let index = fs::read_to_string(bench.dir.path().join("images/index.json")).unwrap();
    assert!(index.contains("docker.io/library/hello:latest"), "{index}");
}

#[test]
fn names_and_prefixes() {
    let bench = Bench::new();
    let id = bench.import(&small("a"), "localhost:5000/x/y").unwrap();
    let hex = id.digest().hex();
    for name in [
        id.as_str(),
        hex,
        &hex[..12],
        &hex[..7],
        &format!("sha256:{}", &hex[..9]),
        "localhost:5000/x/y",
        "localhost:5000/x/y:latest",
    ] {
        assert_eq!(bench.store.resolve(name).unwrap().id, id, "{name}");
    }
    for (name, kind, message) in [
        ("nope", ErrorKind::NotFound, "No such image: nope:latest"),
        ("a/b:c", ErrorKind::NotFound, "No such image: a/b:c"),
        (
            "Nope",
            ErrorKind::InvalidArgument,
            "invalid reference format: repository name (library/Nope) must be lowercase",
        ),
    ] {
        let error = bench.store.resolve(name).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
    // With 17 images two must share their first digit.
    for i in 0..17 {
        bench.import(&small(&format!("{i}")), "").unwrap();
    }
    let ambiguous = "0123456789abcdef".chars().any(|digit| {
        let error = bench.store.resolve(&digit.to_string()).err();
        error.is_some_and(|e| e.message().contains("several image ids begin with this"))
    });
    assert!(ambiguous);
}

#[test]
fn every_compression_gives_the_same_layer() {
    let bench = Bench::new();
    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, "big", &vec![7; 3 << 20]);
    let plain = builder.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let mut xz = Vec::new();
    liblzma::read::XzEncoder::new(plain.as_slice(), 0).read_to_end(&mut xz).unwrap();
    let zstd = zstd::stream::encode_all(plain.as_slice(), 1).unwrap();
    let streams = [
        (Compression::None, plain.clone()),
        (Compression::Gzip, gzip.finish().unwrap()),
        (Compression::Bzip2, bzip2.finish().unwrap()),
        (Compression::Xz, xz),
        (Compression::Zstd, zstd),
    ];
    let mut diff_ids = Vec::new();
    for (compression, stream) in streams {
        let id = bench.import(&stream, "x").unwrap();
        let layer = bench.store.get(&id).unwrap().layers[0].clone();
        assert_eq!((layer.compression, layer.blob_size), (compression, stream.len() as u64));
        diff_ids.push(layer.diff_id);

        let cut = bench.import(&stream[..stream.len() / 2], "").unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::InvalidArgument, "{compression:?}: {cut}");
    }
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 1);
}

#[test]
fn the_newest_of_a_name_keeps_it() {
    let bench = Bench::new();
    let first = bench.import(&small("1"), "x").unwrap();
    let second = bench.import(&small("2"), "x").unwrap();
    assert_eq!(bench.store.resolve("x").unwrap().id, second);
    assert!(bench.store.get(&first).unwrap().is_unnamed());
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| std::io::Error::other("connection reset"))?;
            let archive = small(&"x".repeat(100_000));
            let length = buffer.len().min(archive.len());
            buffer[..length].copy_from_slice(&archive[..length]);
            Ok(length)
        }
    }
    let bench = Bench::new();
    for pieces in [0, 1, 7] {
        let error = bench.store.import(&mut Broken(pieces), ImportOptions::default(), &mut |_| ()).unwrap_err();
        assert!(error.message().contains("connection reset"), "{error}");
    }
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}
