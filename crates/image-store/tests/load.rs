//! Archives of images: ours, and those of every other program that is installed here.

mod common;

use common::{Bench, file, small};
use gantry_image_store::{Deleted, ImageId, InUse, Loaded, Progress, RemoveOptions, VerifyOptions};
use gantry_model::ErrorKind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fs, io::Read, path::Path, process::Command};

fn save(bench: &Bench, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut archive = Vec::new();
    bench.store.save(&names, &mut archive).unwrap();
    archive
}

fn load(bench: &Bench, archive: &[u8]) -> Vec<Loaded> {
    bench.store.load(&mut &archive[..], None, &mut |_| ()).unwrap()
}

fn shown(loaded: &[Loaded]) -> Vec<Vec<String>> {
    loaded.iter().map(|l| l.names.iter().map(gantry_model::Reference::familiar).collect()).collect()
}

fn remove_all(bench: &Bench) {
    for image in bench.store.list() {
        let options = RemoveOptions { force: true, prune: true };
        drop::<Vec<Deleted>>(bench.store.remove(image.id.as_str(), options, &|_| InUse::None).unwrap());
    }
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

fn members(archive: &[u8]) -> HashMap<String, Vec<u8>> {
    let mut found = HashMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        found.insert(entry.path().unwrap().to_string_lossy().into_owned(), content);
    }
    found
}

fn build(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in members {
        file(&mut builder, path, content);
    }
    builder.into_inner().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    gantry_model::Digest::sha256(Sha256::digest(bytes).into()).hex().to_owned()
}

#[test]
fn what_is_damaged_is_not_saved_and_mended_by_a_load() {
    let bench = Bench::new();
    bench.import(&small("a"), "a").unwrap();
    let archive = save(&bench, &["a"]);
    let blob = bench.store.resolve("a").unwrap().layers[0].blob.clone();
    let path = bench.dir.path().join("images/blobs/sha256").join(blob.hex());
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[600] ^= 1;
    fs::write(&path, &bad).unwrap();
    // The first time it is noticed on the way, after that it is known.
    for _ in 0..2 {
        let failed = bench.store.save(&["a".to_owned()], &mut std::io::sink()).unwrap_err();
        assert!(failed.message().contains(blob.as_str()), "{failed}");
    }
    load(&bench, &archive);
    assert!(fs::read(&path).unwrap() == good && bench.store.damaged().is_empty());
    assert!(bench.store.verify(VerifyOptions::default(), &mut |_| ()).unwrap().is_sound());
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let bench = Bench::new();
    let first = bench.import(&small("1"), "x:1").unwrap();
    bench.store.tag("x:1", "x", "2").unwrap();
    let second = bench.import(&small("2"), "").unwrap();
    let archive = save(&bench, &["x", second.short()]);
    for round in 0..2 {
        // First beside the originals, then into an empty store.
        let loaded = load(&bench, &archive);
        assert_eq!(loaded.iter().map(|l| l.id.clone()).collect::<Vec<_>>(), [first.clone(), second.clone()]);
        assert_eq!(shown(&loaded), [vec!["x:1", "x:2"], vec![]], "{round}");
        assert_eq!(fs::read(bench.tree(&first).join("file")).unwrap(), b"1");
        remove_all(&bench);
    }
    let members = members(&archive);
    let table: Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
    assert_eq!(table[0]["RepoTags"], json!(["x:1", "x:2"]));
    assert_eq!(table[1]["RepoTags"], Value::Null);
    assert!(members.contains_key(table[0]["Layers"][0].as_str().unwrap()));
    let index: Value = serde_json::from_slice(&members["index.json"]).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
}

#[test]
fn saving_what_is_not_there() {
    let bench = Bench::new();
    for (name, message) in [("nope", "No such image: nope"), ("nope:x", "reference does not exist")] {
        let error = bench.store.save(&[name.into()], &mut Vec::new()).unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, message));
    }
}

/// An image of two layers, the upper one compressed, as parts of an archive.
fn parts() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let lower = small("lower");
    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, "upper", b"upper");
    let upper = builder.into_inner().unwrap();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers",
        "diff_ids": [format!("sha256:{}", hex(&lower)), format!("sha256:{}", hex(&upper))]},
        "history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": true}, {"created_by": "c"}]});
    (config.to_string().into_bytes(), lower, zstd::stream::encode_all(&upper[..], 1).unwrap())
}

fn docker_archive(config: &[u8], layers: [&[u8]; 2]) -> Vec<u8> {
    let table = json!([{"Config": "c.json", "RepoTags": ["two:1"], "Layers": ["1/layer.tar", "./2/layer.tar"]}]);
    build(&[
        ("c.json".into(), config.to_vec()),
        ("1/layer.tar".into(), layers[0].to_vec()),
        ("2/layer.tar".into(), layers[1].to_vec()),
        ("manifest.json".into(), table.to_string().into_bytes()),
    ])
}

#[test]
fn several_layers_and_history() {
    let bench = Bench::new();
    let (config, lower, upper) = parts();
    let mut steps = Vec::new();
    let archive = docker_archive(&config, [&lower, &upper]);
    let loaded = bench.store.load(&mut &archive[..], None, &mut |step| steps.push(step)).unwrap();
    assert_eq!(shown(&loaded), [["two:1"]]);
    assert!(steps.iter().any(|s| matches!(s, Progress::Layer { done, total, .. } if done == total)));
    let image = bench.store.resolve("two:1").unwrap();
    let tops: Vec<_> = bench
        .store
        .rootfs(&image)
        .iter()
        .map(|dir| fs::read_dir(dir).unwrap().next().unwrap().unwrap().file_name())
        .collect();
    assert_eq!(tops, ["upper", "file"]);
    let history = bench.store.history("two:1").unwrap();
    let steps: Vec<_> = history.iter().map(|h| (h.created_by.as_str(), h.size, h.id.is_some())).collect();
    assert_eq!(steps, [("c", 5, true), ("b", 0, false), ("a", 5, false)]);
    // The same again: nothing is extracted twice, and the compressed blob is kept as it came.
    load(&bench, &archive);
    let again = save(&bench, &["two:1"]);
    assert!(members(&again).values().any(|content| *content == upper));
    let bench = bench.reopen();
    assert_eq!(bench.store.resolve("two:1").unwrap().layers.len(), 2);
    remove_all(&bench);
}

#[test]
fn lies_are_found() {
    let (config, lower, upper) = parts();
    let text = String::from_utf8(config.clone()).unwrap();
    let windows = text.replace("linux", "windows");
    let no_rootfs = text.replace("rootfs", "other");
    let hole = build(&[("manifest.json".into(), br#"[{"Config":"c.json","Layers":[]}]"#.to_vec())]);
    let mut link_loop = tar::Builder::new(Vec::new());
    let mut header = common::header(tar::EntryType::Symlink, 0);
    link_loop.append_link(&mut header, "manifest.json", "manifest.json").unwrap();
    let mut outside = small("x");
    outside[..5].copy_from_slice(b"../xx");
    let sum: u32 = outside[..148].iter().chain(&[b' '; 8]).chain(&outside[156..512]).map(|b| u32::from(*b)).sum();
    outside[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for (archive, message) in [
        (docker_archive(&config, [&upper, &lower]), "invalid diffID for layer"),
        (docker_archive(&config, [&lower, &lower]), "invalid diffID for layer 1"),
        (docker_archive(windows.as_bytes(), [&lower, &upper]), "cannot load windows image on linux"),
        (docker_archive(no_rootfs.as_bytes(), [&lower, &upper]), "invalid image JSON, no RootFS key"),
        (docker_archive(b"{", [&lower, &upper]), "image configuration"),
        (docker_archive(&config, [&lower, &upper[..upper.len() / 2]]), "layer 1"),
        (hole, "\"c.json\" is missing"),
        (link_loop.into_inner().unwrap(), "too many links"),
        (small("x"), "neither manifest.json nor index.json"),
        (Vec::new(), "neither manifest.json nor index.json"),
        (b"garbage".repeat(100), "invalid tar header"),
        (outside, "outside"),
        (build(&[("manifest.json".into(), vec![b' '; 5 << 20])]), "more than the"),
    ] {
        let bench = Bench::new();
        let error = bench.store.load(&mut &archive[..], None, &mut |_| ()).unwrap_err();
        assert!(error.message().contains(message), "{error} instead of {message}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(bench.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn a_blob_with_another_digest() {
    let bench = Bench::new();
    bench.import(&small("1"), "x").unwrap();
    let archive = save(&bench, &["x"]);
    let mut parts: Vec<(String, Vec<u8>)> =
        members(&archive).into_iter().filter(|(path, _)| !path.ends_with('/')).collect();
    parts.retain(|(path, _)| path != "manifest.json");
    for (path, content) in &mut parts {
        if path.starts_with("blobs/") && content.starts_with(b"file\0") {
            content[600] ^= 1;
        }
    }
    // With the blob in the store, and without.
    for _ in 0..2 {
        let error = bench.store.load(&mut &build(&parts)[..], None, &mut |_| ()).unwrap_err();
        assert!(error.message().contains("has the digest"), "{error}");
        remove_all(&bench);
    }
}

/// Runs a program; `None` when it is not installed.
fn run(program: &str, arguments: &[&str], directory: &Path) -> Option<()> {
    let output = match Command::new(program).args(arguments).current_dir(directory).output() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(())
}

/// Our archive through skopeo into each of its forms, and back.
#[test]
fn archives_by_skopeo_and_umoci() {
    let bench = Bench::new();
    let id = bench.import(&small("1"), "x:1").unwrap();
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("ours.tar"), save(&bench, &["x:1"])).unwrap();
    let source = "docker-archive:ours.tar:x:1";
    for (target, file, names) in [
        ("docker-archive:skopeo.tar:y:2", "skopeo.tar", vec!["y:2"]),
        ("oci-archive:oci.tar:docker.io/library/z:3", "oci.tar", vec!["z:3"]),
        ("oci-archive:bare.tar:tag", "bare.tar", vec![]),
    ] {
        if run("skopeo", &["--insecure-policy", "copy", source, target], work.path()).is_none() {
            return;
        }
        remove_all(&bench);
        let loaded = load(&bench, &fs::read(work.path().join(file)).unwrap());
        assert_eq!(shown(&loaded), [names], "{target}");
        assert_eq!(fs::read(bench.tree(&loaded[0].id).join("file")).unwrap(), b"1");
    }
    // The store itself is a layout that others read.
    remove_all(&bench);
    let id2: ImageId = load(&bench, &fs::read(work.path().join("ours.tar")).unwrap()).remove(0).id;
    assert_eq!(id2, id);
    let layout = format!("oci:{}:1", bench.dir.path().join("images").display());
    run("skopeo", &["--insecure-policy", "copy", &layout, "oci:layout:t"], work.path()).unwrap();
    if run("umoci", &["config", "--image", "layout:t", "--author", "me"], work.path()).is_none() {
        return;
    }
    run("tar", &["-C", "layout", "-cf", "umoci.tar", "."], work.path()).unwrap();
    let loaded = load(&bench, &fs::read(work.path().join("umoci.tar")).unwrap());
    assert_eq!(bench.store.get(&loaded[0].id).unwrap().document.author, "me");
}
