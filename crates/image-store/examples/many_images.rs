//! Times the store with many images: `many_images DATA-ROOT [IMAGES]`. Opening it, an arrival of what is here, a tag.

use gantry_image_store::{ImageStore, Incoming};
use gantry_model::{Digest, Reference};
use gantry_state_db::Db;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{env, fs, path::PathBuf, time::Instant};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let mut arguments = env::args_os().skip(1);
    let root = PathBuf::from(arguments.next().ok_or("usage: many_images DATA-ROOT [IMAGES]")?);
    let count: u64 = arguments.next().map_or(Ok(1000), |text| text.to_string_lossy().parse())?;
    fs::create_dir_all(&root)?;
    let store = ImageStore::open(&root, Db::open(&root.join("state.db"))?)?;
    for n in store.list().len() as u64..count {
        arrive(&store, n)?;
    }
    store.flush();
    drop(store);

    for _ in 0..5 {
        let begun = Instant::now();
        let db = Db::open(&root.join("state.db"))?;
        println!("database open  {:?}", begun.elapsed());
        let begun = Instant::now();
        let store = ImageStore::open(&root, db)?;
        println!("store open     {:?} ({} images)", begun.elapsed(), store.list().len());
        let begun = Instant::now();
        let arrival = store.arrival(image(count / 2).0)?;
        println!("arrival        {:?}, all here: {}", begun.elapsed(), arrival.layers().iter().all(|l| l.present));
        let begun = Instant::now();
        arrival.commit(&[name(count / 2)?])?;
        println!("its commit     {:?}", begun.elapsed());
        let begun = Instant::now();
        store.tag(&format!("image-{}", count / 3), "other", "")?;
        println!("tag            {:?}", begun.elapsed());
        store.flush();
    }
    Ok(())
}

fn arrive(store: &ImageStore, n: u64) -> Outcome<()> {
    let (incoming, archives) = image(n);
    let mut arrival = store.arrival(incoming)?;
    for (index, wanted) in arrival.layers().to_vec().iter().enumerate().filter(|(_, wanted)| !wanted.present) {
        let layer = store.incoming_layer(wanted)?;
        layer.write(0, &archives[index])?;
        let lease = layer.extract(&mut |_| ()).map_err(gantry_model::Error::from)?;
        arrival.hold(index, &lease)?;
    }
    arrival.commit(&[name(n)?])?;
    Ok(())
}

fn name(n: u64) -> Outcome<Reference> {
    Ok(Reference::parse(&format!("image-{n}:latest"))?)
}

/// Seven layers that all share, and one of its own.
fn image(n: u64) -> (Incoming, Vec<Vec<u8>>) {
    let archive = |text: String| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        // Writing to memory does not fail.
        builder.append_data(&mut header, "file", text.as_bytes()).expect("memory");
        builder.into_inner().expect("memory")
    };
    let mut archives: Vec<Vec<u8>> = (0..7).map(|shared| archive(format!("shared {shared}"))).collect();
    archives.push(archive(format!("own {n}")));
    let digest = |bytes: &[u8]| Digest::sha256(Sha256::digest(bytes).into());
    let diff_ids: Vec<String> = archives.iter().map(|archive| digest(archive).to_string()).collect();
    let document = json!({"os": "linux", "architecture": "amd64", "config": {"Env": ["PATH=/usr/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}})
    .to_string();
    let layers: Vec<_> = archives
        .iter()
        .map(|archive| json!({"mediaType": "x", "size": archive.len(), "digest": digest(archive).as_str()}))
        .collect();
    let manifest = json!({"schemaVersion": 2, "layers": layers, "config":
        {"mediaType": "x", "size": document.len(), "digest": digest(document.as_bytes()).as_str()}});
    let incoming = Incoming {
        manifest: manifest.to_string().into_bytes(),
        document: document.into_bytes(),
        ..Incoming::default()
    };
    (incoming, archives)
}
