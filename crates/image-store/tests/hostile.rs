//! Archives that mean harm, or are broken: a clear error, and nothing is left.

mod common;

use common::{Bench, file, header, small};
use gantry_image_store::{
    extract::{Limits, extract},
    tar::Archive,
};
use gantry_model::{Error, ErrorKind};
use std::{fs, io::Write, os::unix::fs::MetadataExt, thread};
use tar::EntryType;

/// An entry with a name that the `tar` crate would refuse to write.
fn raw(builder: &mut tar::Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, data: &[u8]) {
    let mut header = header(kind, data.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    builder.append(&header, data).unwrap();
}

fn archive(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

/// A PAX header with these records before a file.
fn pax(records: &[(&str, &[u8])], kind: EntryType, data: &[u8]) -> Vec<u8> {
    archive(|builder| {
        builder.append_pax_extensions(records.iter().copied()).unwrap();
        raw(builder, kind, "file", "", data);
    })
}

/// Imports, expects a refusal that blames the archive, and that nothing is left of it.
#[track_caller]
fn refused(archive: &[u8]) -> String {
    let bench = Bench::new();
    let error = bench.import(archive, "x").unwrap_err();
    blames_the_archive(&bench, &error)
}

#[track_caller]
fn blames_the_archive(bench: &Bench, error: &Error) -> String {
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert_eq!(bench.leftovers(), Vec::<String>::new());
    assert!(bench.store.list().is_empty());
    error.message().to_owned()
}

#[test]
fn names_that_lead_out() {
    for name in ["../evil", "a/../../evil", "/../evil", "./../../evil", ".."] {
        let message = refused(&archive(|b| raw(b, EntryType::Regular, name, "", b"x")));
        assert!(message.contains("is outside of the layer's root"), "{name}: {message}");
    }
}

#[test]
fn an_absolute_name_stays_inside() {
    let bench = Bench::new();
    let evil = "/tmp/gantry-absolute-name-test";
    let id = bench.import(&archive(|b| raw(b, EntryType::Regular, evil, "", b"x")), "").unwrap();
    assert!(bench.tree(&id).join(&evil[1..]).exists() && !fs::exists(evil).unwrap());
}

#[test]
fn links_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    for target in [target, "../../../../../../../..", ".", "/proc/self/root", "real"] {
        let message = refused(&archive(|b| {
            file(b, "real/file", b"x");
            raw(b, EntryType::Symlink, "link", target, b"");
            raw(b, EntryType::Regular, "link/file", "", b"evil");
        }));
        assert!(message.contains("leads through a symbolic link"), "{target}: {message}");
        refused(&archive(|b| {
            raw(b, EntryType::Symlink, "link", target, b"");
            raw(b, EntryType::Regular, "link/.wh..wh..opq", "", b"");
        }));
        refused(&archive(|b| {
            raw(b, EntryType::Symlink, "link", target, b"");
            raw(b, EntryType::Link, "hard", "link/file", b"");
        }));
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_file_replaces_a_link_of_its_name() {
    let outside = tempfile::NamedTempFile::new().unwrap();
    let bench = Bench::new();
    let id = bench.import(
        &archive(|b| {
            raw(b, EntryType::Symlink, "f", outside.path().to_str().unwrap(), b"");
            raw(b, EntryType::Regular, "f", "", b"inside");
            raw(b, EntryType::Symlink, "d", outside.path().parent().unwrap().to_str().unwrap(), b"");
            raw(b, EntryType::Directory, "d/", "", b"");
        }),
        "",
    );
    let tree = bench.tree(&id.unwrap());
    assert_eq!(fs::read(tree.join("f")).unwrap(), b"inside");
    assert!(fs::symlink_metadata(tree.join("d")).unwrap().is_dir());
    assert_eq!(fs::read(outside.path()).unwrap(), b"");
}

#[test]
fn hard_links_stay_inside() {
    for target in ["../../../../../etc/passwd", "/etc/passwd", "missing", "directory", "", "."] {
        refused(&archive(|b| {
            raw(b, EntryType::Directory, "directory/", "", b"");
            raw(b, EntryType::Link, "hard", target, b"");
        }));
    }
}

#[test]
fn devices_are_made_and_never_opened() {
    let bench = Bench::new();
    let device = |b: &mut tar::Builder<Vec<u8>>, kind, name: &str, (major, minor)| {
        let mut header = header(kind, 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        b.append_data(&mut header, name, &[][..]).unwrap();
    };
    let id = bench.import(
        &archive(|b| {
            // Opening a pipe without a writer would hang; the file must replace it.
            device(b, EntryType::Fifo, "pipe", (0, 0));
            file(b, "pipe", b"x");
            device(b, EntryType::Block, "disk", (8, 0));
            device(b, EntryType::Char, "null", (1, 3));
            file(b, "null", b"not written to the device");
        }),
        "",
    );
    let tree = bench.tree(&id.unwrap());
    assert_eq!(fs::symlink_metadata(tree.join("disk")).unwrap().rdev(), 8 << 8);
    assert!(fs::symlink_metadata(tree.join("null")).unwrap().is_file());
}

#[test]
fn attributes_of_overlayfs_are_left_out() {
    let bench = Bench::new();
    let records: [(&str, &[u8]); 3] = [
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.kept", b"1"),
    ];
    let id = bench.import(&pax(&records, EntryType::Regular, b""), "").unwrap();
    let mut names = vec![0; 1024];
    let length = rustix::fs::listxattr(bench.tree(&id).join("file"), &mut names[..]).unwrap();
    assert_eq!(&names[..length], b"user.kept\0");
}

#[test]
fn unusable_names_and_numbers() {
    let long = "n".repeat(300);
    let deep = "d/".repeat(3000);
    for records in [
        ("path", long.as_bytes()),
        ("path", deep.as_bytes()),
        ("path", b"a\0b"),
        ("path", b".wh."),
        ("path", b"x/.wh..."),
        ("size", b"99999999999999999999"),
        ("size", b"9223372036854775808"),
        ("uid", b"4294967295"),
        ("mtime", b"x"),
        ("GNU.sparse.map", b"0"),
        ("GNU.sparse.numbytes", b"1"),
    ] {
        refused(&pax(&[records], EntryType::Regular, b"x"));
    }
    refused(&pax(&[("linkpath", b"")], EntryType::Symlink, b""));
    refused(&pax(&[("linkpath", "l".repeat(5000).as_bytes())], EntryType::Symlink, b""));
    // Ranges that overlap, leave the file, or do not fit the data.
    for map in ["0,1,0,1", "5,1", "0,2", "2,1", "18446744073709551615,1"] {
        refused(&pax(&[("GNU.sparse.size", b"2"), ("GNU.sparse.map", map.as_bytes())], EntryType::Regular, b"x"));
    }
}

#[test]
fn oversized_headers() {
    let mut giant = header(EntryType::new(b'x'), 1 << 33);
    giant.set_cksum();
    assert!(refused(giant.as_bytes()).contains("limit on the size of extended headers"));
    let run = archive(|b| (0..40).for_each(|_| raw(b, EntryType::new(b'L'), "././@LongLink", "", b"name\0")));
    assert!(refused(&run).contains("limit on extended headers"));
}

#[test]
fn truncated_anywhere() {
    let whole = archive(|b| {
        file(b, "a", &[1; 700]);
        file(b, &"long/".repeat(40), &[2; 1500]);
    });
    let entries_end = whole.len() - 1024;
    // Behind the data of the first file, of the second's name, and of the second file.
    let padding = [1212..1536, 2249..2560, 4572..4608];
    for cut in (1..entries_end).step_by(97).chain([511, 513, 1024, 1025]) {
        let bench = Bench::new();
        match bench.import(&whole[..cut], "") {
            // Between two entries the end is as good as the archive's own mark, as Docker and Go see it, and so it is
            // where only padding is missing.
            Ok(_) => assert!(cut % 512 == 0 || padding.iter().any(|padding| padding.contains(&cut)), "{cut}"),
            Err(error) => drop(blames_the_archive(&bench, &error)),
        }
    }
    for garbage in
        [&b"garbage"[..], &[0xff; 4096], &whole[1..], b"\x1f\x8b\x08 no gzip at all", b"BZh9 no", b"\x28\xb5\x2f\xfd"]
    {
        refused(garbage);
    }
}

#[test]
fn bombs() {
    let limits = Limits { ratio_from: 1 << 20, ratio: 100, entries: 50, bytes: 10 << 20, ..Limits::default() };
    let zeros = archive(|b| file(b, "zeros", &vec![0; 4 << 20]));
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&zeros).unwrap();
    let large = archive(|b| (0..3).for_each(|i| file(b, &format!("{i}"), &vec![0; 4 << 20])));
    let many = archive(|b| (0..60).for_each(|i| file(b, &format!("{i}"), b"")));
    for (archive, limit) in [(bomb.finish().unwrap(), "compression ratio"), (large, "size"), (many, "entries")] {
        let bench = Bench::with_limits(limits);
        let error = bench.import(&archive, "x").unwrap_err();
        let message = blames_the_archive(&bench, &error);
        assert!(message.contains(&format!("limit on {limit}")), "{message}");
    }
    let bench = Bench::with_limits(Limits { keep_free: u64::MAX, ..Limits::default() });
    let error = bench.import(&small("x"), "").unwrap_err();
    assert!(error.message().contains("no space left on device"), "{error}");
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

/// A small generator: the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Flipped bytes in valid archives: whatever happens, nothing outside changes, the archive is to blame, and nothing
/// panics.
#[test]
fn mutations() {
    let outside = tempfile::tempdir().unwrap();
    let seed = archive(|b| {
        b.append_pax_extensions([("path", &b"pax/name"[..]), ("SCHILY.xattr.user.x", b"y")]).unwrap();
        raw(b, EntryType::Regular, "f", "", b"data");
        raw(b, EntryType::Symlink, "pax/l", outside.path().to_str().unwrap(), b"");
        raw(b, EntryType::Link, "h", "pax/name", b"");
        raw(b, EntryType::Directory, "d/", "", b"");
        file(b, &"long/".repeat(22), b"x");
    });
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..600 {
        let mut mutant = seed.clone();
        for _ in 0..=random.next() % 3 {
            let at = (random.next() % mutant.len() as u64) as usize;
            mutant[at] = b"\0/.0179xLKSg5\xff\x80"[(random.next() % 15) as usize];
        }
        // Most headers would only fail their checksum.
        for block in mutant.chunks_exact_mut(512) {
            if &block[257..262] == b"ustar" {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let extract = || extract(&mut Archive::new(&mutant[..]), directory.path(), Limits::default());
        let result = thread::scope(|scope| scope.spawn(extract).join().unwrap());
        if let Err(error) = result {
            let error = Error::from(error);
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        }
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}
