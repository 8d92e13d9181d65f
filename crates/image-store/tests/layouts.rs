//! OCI layouts and what else programs put images into: platforms, nested indexes, artifacts, lies.

mod common;

use common::{Bench, file, small};
use gantry_image_store::{Loaded, Progress};
use gantry_model::{ErrorKind, Platform, Reference, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::Write;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn hex(bytes: &[u8]) -> String {
    gantry_model::Digest::sha256(Sha256::digest(bytes).into()).hex().to_owned()
}

/// Blobs and the descriptors of what is to be in the index.
#[derive(Default)]
struct Layout {
    members: Vec<(String, Vec<u8>)>,
    roots: Vec<Value>,
}

impl Layout {
    fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.members.push((format!("blobs/sha256/{}", hex(bytes)), bytes.to_vec()));
        json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()})
    }

    fn json(&mut self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, value.to_string().as_bytes())
    }

    /// An image with one file that holds its architecture.
    fn image(&mut self, architecture: &str) -> Value {
        let layer = small(architecture);
        let config = json!({"architecture": architecture, "os": "linux", "config": {}, "rootfs":
            {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]}});
        let config = self.json(CONFIG, &config);
        let layer = self.blob(LAYER, &layer);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let mut descriptor = self.json(MANIFEST, &manifest);
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    }

    fn index(&mut self, manifests: &[Value]) -> Value {
        self.json(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))
    }

    fn archive(&self) -> Vec<u8> {
        let index = json!({"schemaVersion": 2, "manifests": self.roots}).to_string();
        let mut builder = tar::Builder::new(Vec::new());
        file(&mut builder, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        file(&mut builder, "index.json", index.as_bytes());
        for (path, content) in &self.members {
            file(&mut builder, path, content);
        }
        builder.into_inner().unwrap()
    }
}

fn load(bench: &Bench, archive: &[u8], platform: Option<&str>) -> Result<Vec<Loaded>> {
    let platform = platform.map(|text| text.parse::<Platform>().unwrap());
    bench.store.load(&mut &archive[..], platform.as_ref(), &mut |_: Progress| ())
}

fn architectures(bench: &Bench, loaded: &[Loaded]) -> Vec<String> {
    loaded.iter().map(|image| std::fs::read_to_string(bench.tree(&image.id).join("file")).unwrap()).collect()
}

#[test]
fn the_platform_that_was_asked_for() {
    let mut layout = Layout::default();
    let images = [layout.image("s390x"), layout.image("amd64"), layout.image("arm64")];
    let attestation = json!({"mediaType": MANIFEST, "digest": format!("sha256:{}", "0".repeat(64)), "size": 1,
        "platform": {"os": "unknown", "architecture": "unknown"}});
    let inner = layout.index(&[&images[..], &[attestation]].concat());
    let mut outer = layout.index(&[inner]);
    outer["annotations"] = json!({"io.containerd.image.name": "docker.io/library/many:1"});
    layout.roots.push(outer);
    let archive = layout.archive();
    for (wanted, got) in [(None, "amd64"), (Some("linux/s390x"), "s390x"), (Some("linux/arm64"), "arm64")] {
        let bench = Bench::new();
        let loaded = load(&bench, &archive, wanted).unwrap();
        assert_eq!(architectures(&bench, &loaded), [got]);
        assert_eq!(loaded[0].names.iter().map(Reference::familiar).collect::<Vec<_>>(), ["many:1"]);
        let manifest = bench.store.manifest_of(&loaded[0].id).unwrap();
        assert_eq!(manifest.media_type, MANIFEST);
        assert!(images.iter().any(|image| image["digest"] == manifest.digest.as_str()), "the original manifest");
    }
    let bench = Bench::new();
    let error = load(&bench, &archive, Some("linux/riscv64")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.message().contains("many:1 was found but does not provide the specified platform (linux/riscv64)"));
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

/// `docker save --platform` keeps the index and leaves out what it names.
#[test]
fn an_index_that_names_more_than_there_is() {
    let mut layout = Layout::default();
    let gone = Layout::default().image("amd64");
    let here = layout.image("arm64");
    let index = layout.index(&[gone, here]);
    layout.roots.push(index);
    let bench = Bench::new();
    let loaded = load(&bench, &layout.archive(), None).unwrap();
    assert_eq!(architectures(&bench, &loaded), ["arm64"]);
}

#[test]
fn several_images_and_names() {
    let mut layout = Layout::default();
    let (one, two) = (layout.image("amd64"), layout.image("arm64"));
    let named = |mut descriptor: Value, key: &str, name: &str| {
        descriptor["annotations"] = json!({ key: name });
        descriptor
    };
    layout.roots = vec![
        named(one.clone(), "io.containerd.image.name", "docker.io/library/a:1"),
        named(one, "org.opencontainers.image.ref.name", "localhost:5000/b"),
        // A bare tag says nothing about the repository.
        named(two, "org.opencontainers.image.ref.name", "latest"),
    ];
    let bench = Bench::new();
    let loaded = load(&bench, &layout.archive(), None).unwrap();
    let names: Vec<Vec<String>> =
        loaded.iter().map(|image| image.names.iter().map(Reference::familiar).collect()).collect();
    assert_eq!(names, [vec!["a:1", "localhost:5000/b:latest"], vec![]]);
}

#[test]
fn compressed_as_a_whole() {
    let mut layout = Layout::default();
    let image = layout.image("amd64");
    layout.roots.push(image);
    let plain = layout.archive();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&plain).unwrap();
    let zstd = zstd::stream::encode_all(&plain[..], 1).unwrap();
    for archive in [plain, gzip.finish().unwrap(), bzip2.finish().unwrap(), xz.finish().unwrap(), zstd] {
        let bench = Bench::new();
        let loaded = load(&bench, &archive, None).unwrap();
        assert_eq!(architectures(&bench, &loaded), ["amd64"]);
    }
}

/// What `skopeo copy dir:` writes: everything in one directory, the manifest under a name of its own.
#[test]
fn a_directory_of_containers_image() {
    let mut layout = Layout::default();
    layout.image("amd64");
    let (_, manifest) = layout.members.pop().unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in &layout.members {
        file(&mut builder, path.rsplit('/').next().unwrap(), content);
    }
    file(&mut builder, "version", b"Directory Transport Version: 1.1\n");
    file(&mut builder, "manifest.json", &manifest);
    let bench = Bench::new();
    let loaded = load(&bench, &builder.into_inner().unwrap(), None).unwrap();
    assert_eq!(architectures(&bench, &loaded), ["amd64"]);
    assert_eq!(bench.store.manifest_of(&loaded[0].id).unwrap().bytes, manifest);
}

/// Both tables in one archive, as Docker 25 writes it: the names of the one, the manifests of the other.
#[test]
fn manifests_survive_in_archives_of_both_kinds() {
    let mut layout = Layout::default();
    let mut image = layout.image("amd64");
    // An annotation makes the manifest one that nobody would make up.
    let manifest: Value = serde_json::from_slice(&layout.members[2].1).unwrap();
    let mut annotated = manifest.clone();
    annotated["annotations"] = json!({"a": "b"});
    image["digest"] = layout.json(MANIFEST, &annotated)["digest"].clone();
    image["size"] = json!(annotated.to_string().len());
    layout.roots.push(image.clone());
    let path = |value: &Value| value["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
    let table = json!([{"Config": path(&manifest["config"]), "RepoTags": ["both:1"],
        "Layers": [path(&manifest["layers"][0])]}]);
    layout.members.push(("manifest.json".into(), table.to_string().into_bytes()));
    let bench = Bench::new();
    let loaded = load(&bench, &layout.archive(), None).unwrap();
    assert_eq!(loaded[0].names.len(), 1);
    assert_eq!(bench.store.manifest_of(&loaded[0].id).unwrap().digest.as_str(), image["digest"]);
    // And through our own archive again.
    let mut saved = Vec::new();
    bench.store.save(&["both:1".into()], &mut saved).unwrap();
    let bench = Bench::new();
    let loaded = load(&bench, &saved, None).unwrap();
    assert_eq!(bench.store.manifest_of(&loaded[0].id).unwrap().digest.as_str(), image["digest"]);
}

#[test]
fn what_is_no_image_is_refused() {
    let artifact = |config: &str, extra: Value| {
        let mut layout = Layout::default();
        let config = layout.blob(config, b"{}");
        let mut manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        manifest.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let root = layout.json(MANIFEST, &manifest);
        layout.roots.push(root);
        layout
    };
    let chart = artifact("application/vnd.cncf.helm.config.v1+json", json!({}));
    let typed = artifact(CONFIG, json!({"artifactType": "application/x-sbom"}));
    let mut foreign = Layout::default();
    let config = foreign.blob(CONFIG, b"{}");
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "size": 1,
        "digest": format!("sha256:{}", "1".repeat(64)), "urls": ["https://elsewhere/layer"]});
    let root = foreign.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}));
    foreign.roots.push(root);
    let mut old = Layout::default();
    let root = old.json(MANIFEST, &json!({"schemaVersion": 1, "fsLayers": []}));
    old.roots.push(root);
    let mut short = Layout::default();
    let mut root = short.image("amd64");
    root["size"] = json!(7);
    short.roots.push(root);
    let mut deep = Layout::default();
    let mut root = deep.image("amd64");
    for _ in 0..8 {
        root = deep.index(&[root]);
    }
    deep.roots.push(root);
    let mut looped = Layout::default();
    // A digest cannot be inside what it digests, so a loop needs a lie.
    let mut root = looped.index(&[json!({"digest": format!("sha256:{}", "2".repeat(64)), "size": 1})]);
    looped.members[0].0 = format!("blobs/sha256/{}", "2".repeat(64));
    root["digest"] = json!(format!("sha256:{}", "2".repeat(64)));
    looped.roots.push(root);
    for (layout, message) in [
        (chart, "is not an image but an artifact of type \"application/vnd.cncf.helm.config.v1+json\""),
        (typed, "artifact of type \"application/x-sbom\""),
        (foreign, "is not in it but at https://elsewhere/layer"),
        (old, "schema 1 is not supported"),
        (short, "bytes and not 7"),
        (deep, "too many nested indexes"),
        (looped, "has the digest"),
    ] {
        let bench = Bench::new();
        let error = load(&bench, &layout.archive(), None).unwrap_err();
        assert!(error.message().contains(message), "{error} instead of {message}");
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(bench.leftovers(), Vec::<String>::new(), "{message}");
    }
}

/// Each entry of the index makes us read another large index.
#[test]
fn manifests_are_read_within_bounds() {
    let mut layout = Layout::default();
    for n in 0..20 {
        let padding = " ".repeat((4 << 20) - 200);
        let index = format!(r#"{{"schemaVersion": 2, "n": {n}, "manifests": []{padding}}}"#);
        let root = layout.blob(INDEX, index.as_bytes());
        layout.roots.push(root);
    }
    let bench = Bench::new();
    let error = load(&bench, &layout.archive(), None).unwrap_err();
    assert!(error.message().contains("too many manifests"), "{error}");
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}

/// Members that look like layers but are none that anybody wants, and layers that do not extract.
#[test]
fn what_was_extracted_in_vain_is_thrown_away() {
    let mut hostile = tar::Builder::new(Vec::new());
    let mut header = common::header(tar::EntryType::Link, 0);
    hostile.append_link(&mut header, "a", "b/missing").unwrap();
    let hostile = hostile.into_inner().unwrap();
    let mut layout = Layout::default();
    let image = layout.image("amd64");
    layout.members.push(("stray.tar".into(), small("stray")));
    layout.members.push(("stray.tar.zst".into(), zstd::stream::encode_all(&small("packed")[..], 1).unwrap()));
    layout.members.push(("hostile.tar".into(), hostile.clone()));
    layout.roots.push(image);
    let bench = Bench::new();
    let loaded = load(&bench, &layout.archive(), None).unwrap();
    assert_eq!(architectures(&bench, &loaded), ["amd64"]);
    // One directory, and the document, the manifest and the layer.
    assert_eq!(bench.leftovers().len(), 4, "{:?}", bench.leftovers());

    let mut bad = Layout::default();
    let config = json!({"os": "linux", "rootfs": {"diff_ids": [format!("sha256:{}", hex(&hostile))]}});
    let (config, layer) = (bad.json(CONFIG, &config), bad.blob(LAYER, &hostile));
    let root = bad.json(MANIFEST, &json!({"schemaVersion": 2, "config": config, "layers": [layer]}));
    bad.roots.push(root);
    let bench = Bench::new();
    let error = load(&bench, &bad.archive(), None).unwrap_err();
    assert!(error.message().contains("layer 0: cannot extract the archive: hard link"), "{error}");
    assert_eq!(bench.leftovers(), Vec::<String>::new());
}
