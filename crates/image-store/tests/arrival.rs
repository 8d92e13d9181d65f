//! Images that arrive in pieces, stop half-way, go on later, and are not what they claim.

mod common;

use common::{
    Bench, file, noise,
    remote::{MEDIA_TYPE, Remote, arrive, digest, fetch, fetch_all, gzip, zstd},
    small,
};
use gantry_image_store::{ExtractFailure, ImageId, ImageStore, InUse, RemoveOptions, VerifyOptions, extract::Limits};
use gantry_model::{Error, ErrorKind, Reference};
use gantry_state_db::Db;
use std::{
    env, fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

fn name(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn unused(_: &ImageId) -> InUse {
    InUse::None
}

fn archive(name: &str, length: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, name, &noise(length, length as u64));
    builder.into_inner().unwrap()
}

fn partials(bench: &Bench) -> usize {
    fs::read_dir(bench.dir.path().join("images/partial")).unwrap().count()
}

fn two_layers() -> Remote {
    let (lower, upper) = (archive("lower", 600_000), archive("upper", 400_000));
    Remote::new(&[(lower.clone(), gzip(&lower)), (upper.clone(), zstd(&upper))])
}

#[test]
fn an_image_arrives() {
    let bench = Bench::new();
    let remote = two_layers();
    let by_digest = name(&format!("example.com/a/b@{}", digest(remote.manifest.to_string().as_bytes())));
    let tag = name("example.com/a/b:1");
    let committed = arrive(&bench.store, &remote, &[tag.clone(), by_digest.clone()]).unwrap();
    assert!(committed.new && committed.moved.is_empty());
    let image = bench.store.resolve("example.com/a/b:1").unwrap();
    assert_eq!(image.repo_digests, [by_digest.familiar()]);
    assert_eq!(bench.store.resolve(&by_digest.to_string()).unwrap().id, image.id);
    let roots = bench.store.rootfs(&image);
    assert_eq!(fs::read(roots[0].join("upper")).unwrap(), noise(400_000, 400_000));
    assert_eq!(fs::read(roots[1].join("lower")).unwrap(), noise(600_000, 600_000));
    let manifest = bench.store.manifest_of(&image.id).unwrap();
    assert_eq!((manifest.media_type.as_str(), manifest.layers.len()), (MEDIA_TYPE, 2));
    assert_eq!(manifest.bytes, remote.manifest.to_string().into_bytes());
    assert_eq!(partials(&bench), 0);

    // Again, with nothing to do, also after a restart.
    let bench = bench.reopen();
    let arrival = bench.store.arrival(remote.incoming()).unwrap();
    assert!(arrival.layers().iter().all(|layer| layer.present));
    assert!(!arrival.commit(&[tag]).unwrap().new);
    let deleted = bench.store.remove("example.com/a/b:1", RemoveOptions::default(), &unused).unwrap();
    // The tag, the name by digest, the image, two layers.
    assert_eq!(deleted.len(), 5);
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

#[test]
fn an_interrupted_layer_goes_on_where_it_stopped() {
    let bench = Bench::new();
    let remote = two_layers();
    let wanted = bench.store.arrival(remote.incoming()).unwrap().layers()[0].clone();
    let blob = remote.blob(&wanted);
    let incoming = bench.store.incoming_layer(&wanted).unwrap();
    assert_eq!(incoming.missing().len(), 1);
    assert_eq!(bench.store.incoming_layer(&wanted).unwrap_err().kind(), ErrorKind::Conflict);
    incoming.write(0, &blob[..1000]).unwrap();
    incoming.write(300_000, &blob[300_000..400_000]).unwrap();
    let failed = thread::scope(|scope| {
        let extractor = scope.spawn(|| incoming.extract(&mut |_| ()));
        incoming.fail(&Error::unavailable("the line is dead"));
        extractor.join().unwrap()
    });
    let ExtractFailure::Failed(error) = failed.unwrap_err() else { panic!("not damaged") };
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "the line is dead"));
    assert!(incoming.write(1000, &blob[1000..2000]).is_err());
    drop(incoming);

    let bench = bench.reopen();
    let incoming = bench.store.incoming_layer(&wanted).unwrap();
    assert_eq!(incoming.received(), 101_000);
    assert_eq!(incoming.missing(), [1000..300_000, 400_000..blob.len() as u64]);
    drop(incoming);
    arrive(&bench.store, &remote, &[name("x")]).unwrap();
    assert_eq!(partials(&bench), 0);
}

#[test]
fn an_arrival_that_is_given_up_keeps_its_blobs() {
    let bench = Bench::new();
    let remote = two_layers();
    let mut arrival = bench.store.arrival(remote.incoming()).unwrap();
    fetch_all(&bench.store, &remote, &mut arrival).unwrap();
    drop(arrival);
    assert_eq!(bench.leftovers(), Vec::<String>::new());
    let bench = bench.reopen();
    let wanted = bench.store.arrival(remote.incoming()).unwrap().layers().to_vec();
    for layer in &wanted {
        assert_eq!(bench.store.incoming_layer(layer).unwrap().missing(), []);
    }
    arrive(&bench.store, &remote, &[name("x")]).unwrap();
    assert_eq!(bench.store.prune_partials().unwrap(), 0);
}

#[test]
fn wrong_bytes_are_noticed_and_thrown_away() {
    let bench = Bench::new();
    let remote = two_layers();
    let wanted = bench.store.arrival(remote.incoming()).unwrap().layers()[0].clone();
    let good = remote.blob(&wanted);
    let mut wrong = good.to_vec();
    wrong[200_000] ^= 1;
    for (bytes, resumed) in [(&wrong, false), (&wrong, true)] {
        if resumed {
            let incoming = bench.store.incoming_layer(&wanted).unwrap();
            incoming.write(0, &bytes[..250_000]).unwrap();
        }
        let failure = fetch(&bench.store, &wanted, bytes).unwrap_err();
        let ExtractFailure::Damaged { resumed: said, .. } = failure else { panic!("{failure:?}") };
        assert_eq!(said, resumed);
        assert_eq!(partials(&bench), 0);
    }
    assert_eq!(bench.leftovers(), Vec::<String>::new());
    fetch(&bench.store, &wanted, good).unwrap();
}

/// The second time a registry sends a layer from its beginning it may send something else there, which was digested
/// already and would be in the store under the digest of what came the first time.
#[test]
fn what_is_here_is_not_written_over() {
    let bench = Bench::new();
    let remote = two_layers();
    let wanted = bench.store.arrival(remote.incoming()).unwrap().layers()[0].clone();
    let good = remote.blob(&wanted);
    let mut other = good.to_vec();
    other[..300_000].fill(7);
    let incoming = bench.store.incoming_layer(&wanted).unwrap();
    incoming.write(100_000, &good[100_000..300_000]).unwrap();
    incoming.write(0, &good[..100_000]).unwrap();
    incoming.write(0, &other).unwrap();
    assert_eq!(incoming.missing(), []);
    let _lease = incoming.extract(&mut |_| ()).unwrap();
    let stored = bench.dir.path().join("images/blobs/sha256").join(wanted.blob.hex());
    assert!(fs::read(stored).unwrap() == good);
}

/// A manifest may call any blob of the store a layer.
#[test]
fn what_is_no_archive_is_not_damaged() {
    let bench = Bench::new();
    let remote = two_layers();
    remote.arrive(&bench.store, "x").unwrap();
    let document = remote.document.to_string().into_bytes();
    let hostile = Remote::new(&[(document.clone(), document)]);
    assert!(hostile.arrive(&bench.store, "y").is_err());
    assert_eq!(bench.store.damaged(), []);
    assert!(bench.store.verify(VerifyOptions::default(), &mut |_| ()).unwrap().findings.is_empty());
}

#[test]
fn a_document_that_names_other_layers_is_refused() {
    let bench = Bench::new();
    let (archive, other) = (small("a"), small("b"));
    let lying = Remote::new(&[(other, gzip(&archive))]);
    let failed = arrive(&bench.store, &lying, &[]).unwrap_err();
    assert_eq!(failed.message(), "layers from manifest don't match image configuration");
    assert_eq!(partials(&bench), 0);

    let mut short = Remote::new(&[(archive.clone(), gzip(&archive))]);
    short.document["rootfs"]["diff_ids"] = serde_json::json!([]);
    let message = |remote: &Remote| bench.store.arrival(remote.incoming()).unwrap_err().message().to_owned();
    assert!(message(&short).starts_with("image config verification failed for digest sha256:"));
    let config = digest(short.document.to_string().as_bytes());
    short.manifest["config"]["digest"] = config.as_str().into();
    assert_eq!(message(&short), "layers from manifest don't match image configuration");
    let many = vec![(archive.clone(), gzip(&archive)); 500];
    assert!(message(&Remote::new(&many)).contains("500 layers"));
}

#[test]
fn a_blob_longer_than_it_should_be_is_refused() {
    let bench = Bench::new();
    let archive = small("a");
    let remote = Remote::new(&[(archive.clone(), archive.clone())]);
    let wanted = bench.store.arrival(remote.incoming()).unwrap().layers()[0].clone();
    let incoming = bench.store.incoming_layer(&wanted).unwrap();
    assert_eq!(incoming.write(0, &[archive.as_slice(), b"x"].concat()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert!(incoming.write(u64::MAX, b"xx").is_err());
}

/// Layers that images share are stored once, whatever lies below them.
#[test]
fn two_hundred_layers_some_of_them_the_same() {
    let bench = Bench::new();
    let mut layers: Vec<_> = (0..200).map(|n| small(&format!("layer {}", n % 150))).collect();
    layers[199] = small("top");
    let layers: Vec<_> = layers.into_iter().map(|archive| (archive.clone(), gzip(&archive))).collect();
    let remote = Remote::new(&layers);
    let committed = arrive(&bench.store, &remote, &[name("many")]).unwrap();
    let image = bench.store.get(&committed.id).unwrap();
    assert_eq!(image.layers.len(), 200);
    let roots = bench.store.rootfs(&image);
    assert_eq!(roots.len(), 151);
    assert_eq!(fs::read(roots[0].join("file")).unwrap(), b"top");
    assert_eq!(fs::read_dir(bench.dir.path().join("layers")).unwrap().count(), 151);
    let other = Remote::new(&layers[100..150]);
    let arrival = bench.store.arrival(other.incoming()).unwrap();
    assert!(arrival.layers().iter().all(|layer| layer.present));
    arrival.commit(&[name("few")]).unwrap();
    let deleted = bench.store.remove("many", RemoveOptions::default(), &unused).unwrap();
    // Tag, image, and two hundred layers on top of each other.
    assert_eq!(deleted.len(), 202);
    assert_eq!(fs::read_dir(bench.dir.path().join("layers")).unwrap().count(), 50);
}

#[test]
fn the_index_it_came_from_is_kept() {
    let bench = Bench::new();
    let remote = two_layers();
    let index = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
    let mut incoming = remote.incoming();
    incoming.index = Some(("application/vnd.oci.image.index.v1+json".into(), index.clone()));
    let mut arrival = bench.store.arrival(incoming).unwrap();
    fetch_all(&bench.store, &remote, &mut arrival).unwrap();
    let id = arrival.commit(&[name("x")]).unwrap().id;
    let bench = bench.reopen();
    let (media_type, blob) = bench.store.manifest_of(&id).unwrap().index.unwrap();
    assert_eq!((media_type.as_str(), blob.clone()), ("application/vnd.oci.image.index.v1+json", digest(&index)));
    assert_eq!(bench.store.open_blob(&blob).unwrap().unwrap().size(), index.len() as u64);
}

#[test]
fn a_pushed_image_gets_a_name_by_digest() {
    let bench = Bench::new();
    let id = two_layers().arrive(&bench.store, "x:1").unwrap().id;
    let manifest = bench.store.manifest_of(&id).unwrap().digest;
    let by_digest = name(&format!("localhost:5000/x@{manifest}"));
    bench.store.add_digest_name(&id, &by_digest).unwrap();
    assert!(bench.store.add_digest_name(&id, &name("x:2")).is_err());
    let bench = bench.reopen();
    let image = bench.store.resolve(&by_digest.to_string()).unwrap();
    assert_eq!(image.repo_digests, [by_digest.familiar()]);
    assert_eq!(bench.store.resolve(&format!("localhost:5000/x:any@{manifest}")).unwrap().id, id);
}

#[test]
fn partials_do_not_stay_for_ever() {
    let bench = Bench::new();
    let remote = two_layers();
    let wanted = bench.store.arrival(remote.incoming()).unwrap().layers().to_vec();
    let begin = |at: usize| {
        let incoming = bench.store.incoming_layer(&wanted[at]).unwrap();
        incoming.write(0, &remote.blob(&wanted[at])[..200_000]).unwrap();
        incoming
    };
    drop(begin(0));
    let fetching = begin(1);
    assert_eq!(partials(&bench), 4);
    assert!(bench.store.prune_partials().unwrap() >= 200_000);
    assert_eq!((partials(&bench), bench.store.prune_partials().unwrap()), (2, 0));
    drop(fetching);
    let file = fs::File::open(bench.dir.path().join("images/partial").join(wanted[1].blob.hex())).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(6 * 86_400)).unwrap();
    let bench = bench.reopen();
    assert_eq!(partials(&bench), 2);
    file.set_modified(SystemTime::now() - Duration::from_secs(8 * 86_400)).unwrap();
    assert_eq!(partials(&bench.reopen()), 0);
}

/// Arrivals of the same layers, removals and prunes, all at once.
#[test]
fn everything_at_once() {
    let bench = Bench::new();
    let shared = archive("shared", 300_000);
    let remotes: Vec<Remote> = (0..4)
        .map(|n| {
            let own = archive("own", 100_000 + n);
            Remote::new(&[(shared.clone(), gzip(&shared)), (own.clone(), zstd(&own))])
        })
        .collect();
    let store = &bench.store;
    thread::scope(|scope| {
        for (n, remote) in remotes.iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..10 {
                    loop {
                        match remote.arrive(store, &format!("image:{n}")) {
                            Ok(_) => break,
                            // The engine shares a download instead; here everybody tries again.
                            Err(e) => assert_eq!(e.kind(), ErrorKind::Conflict, "{e}"),
                        }
                        thread::yield_now();
                    }
                    let image = store.resolve(&format!("image:{n}")).unwrap();
                    assert!(store.rootfs(&image).iter().all(|root| root.is_dir()));
                    store.remove(&format!("image:{n}"), RemoveOptions::default(), &unused).unwrap();
                    store.prune_partials().unwrap();
                }
            });
        }
    });
    store.prune_partials().unwrap();
    assert_eq!(bench.leftovers(), Vec::<String>::new());
    assert_eq!(partials(&bench), 0);
}

/// What an arrival found here stays, even if the last image with it goes.
#[test]
fn a_removal_during_an_arrival() {
    let bench = Bench::new();
    let (lower, upper) = (archive("lower", 50_000), archive("upper", 50_000));
    let pair = |archive: &Vec<u8>| (archive.clone(), gzip(archive));
    Remote::new(&[pair(&lower)]).arrive(&bench.store, "base").unwrap();
    let remote = Remote::new(&[pair(&lower), pair(&upper)]);
    let mut arrival = bench.store.arrival(remote.incoming()).unwrap();
    assert!(arrival.layers()[0].present && !arrival.layers()[1].present);
    bench.store.remove("base", RemoveOptions::default(), &unused).unwrap();
    bench.store.prune_partials().unwrap();
    fetch_all(&bench.store, &remote, &mut arrival).unwrap();
    // The whole image, and its removal before the commit of another arrival of it.
    let again = bench.store.arrival(remote.incoming()).unwrap();
    arrival.commit(&[name("x")]).unwrap();
    let whole = bench.store.arrival(remote.incoming()).unwrap();
    bench.store.remove("x", RemoveOptions::default(), &unused).unwrap();
    drop(again);
    assert!(whole.commit(&[name("y")]).unwrap().new);
    assert!(bench.store.verify(VerifyOptions::default(), &mut |_| ()).unwrap().findings.is_empty());
}

const FULL: &str = "GANTRY_IMAGE_STORE_FULL_DISK";

/// On a small file system of its own, which only this program sees.
#[test]
fn a_full_disk_is_told_and_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=8m none \"$0\" && exec \"$1\" full_disk_child --exact --nocapture";
    let status = Command::new("unshare")
        .args(["-m", "sh", "-c", script])
        .args([dir.path(), &env::current_exe().unwrap()])
        .env(FULL, dir.path())
        .status();
    assert!(status.unwrap().success());
}

/// Not a test of its own: what happens on the small file system.
#[test]
fn full_disk_child() {
    let Some(root) = env::var_os(FULL) else { return };
    let root = Path::new(&root);
    let limits = Limits { keep_free: 0, ..Limits::default() };
    let db = Db::open(&root.join("state.db")).unwrap();
    let store = ImageStore::open_with_limits(root, db, limits).unwrap();
    let layers = |sizes: &[usize]| {
        let layer = |size: &usize| {
            let archive = archive("file", *size);
            (archive.clone(), gzip(&archive))
        };
        Remote::new(&sizes.iter().map(layer).collect::<Vec<_>>())
    };
    layers(&[300_000]).arrive(&store, "kept").unwrap();
    store.flush();
    let free = || {
        let space = rustix::fs::statvfs(root).unwrap();
        space.f_bavail * space.f_frsize
    };
    let before = free();
    // The blob fits and what is in it does not; not even the blob fits; only the second layer does not.
    for sizes in [&[4_200_000][..], &[9_000_000], &[1_000_000, 3_000_000]] {
        let failed = layers(sizes).arrive(&store, "large").unwrap_err();
        assert!(failed.message().contains("no space left on device"), "{sizes:?}: {failed}");
        assert!(free() + 100_000 >= before, "{sizes:?}: {} of {before}", free());
    }
    assert_eq!(store.list().len(), 1);
    assert!(store.verify(VerifyOptions::default(), &mut |_| ()).unwrap().findings.is_empty());
    layers(&[350_000]).arrive(&store, "small").unwrap();
}
