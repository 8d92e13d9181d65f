//! Images as a registry would describe them.

use flate2::{Compression, write::GzEncoder};
use gantry_image_store::{Arrival, Committed, ExtractFailure, ImageStore, Incoming, LayerLease, WantedLayer};
use gantry_model::{Digest, Error, Reference};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{collections::HashMap, io::Write, thread};

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(Sha256::digest(bytes).into())
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::stream::encode_all(bytes, 1).unwrap()
}

/// An image and the blobs of its layers.
pub(crate) struct Remote {
    pub(crate) manifest: Value,
    pub(crate) document: Value,
    pub(crate) blobs: HashMap<Digest, Vec<u8>>,
}

impl Remote {
    /// Of layers given as archive and blob, the lowest first.
    pub(crate) fn new(layers: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|(archive, _)| digest(archive).to_string()).collect();
        let document = json!({"os": "linux", "architecture": "amd64", "config": {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": []});
        let descriptor = |(_, blob): &(Vec<u8>, Vec<u8>)| {
            json!({"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": blob.len(),
                "digest": digest(blob).as_str()})
        };
        let bytes = document.to_string();
        let manifest = json!({"schemaVersion": 2, "mediaType": MEDIA_TYPE,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": bytes.len(),
                "digest": digest(bytes.as_bytes()).as_str()},
            "layers": layers.iter().map(descriptor).collect::<Vec<_>>()});
        let blobs = layers.iter().map(|(_, blob)| (digest(blob), blob.clone())).collect();
        Self { manifest, document, blobs }
    }

    pub(crate) fn incoming(&self) -> Incoming {
        Incoming {
            manifest: self.manifest.to_string().into_bytes(),
            media_type: MEDIA_TYPE.into(),
            document: self.document.to_string().into_bytes(),
            index: None,
        }
    }

    /// The whole way, for a tag.
    pub(crate) fn arrive(&self, store: &ImageStore, tag: &str) -> Result<Committed, Error> {
        arrive(store, self, &[Reference::parse(tag).unwrap()])
    }

    pub(crate) fn blob(&self, layer: &WantedLayer) -> &[u8] {
        &self.blobs[&layer.blob]
    }
}

pub(crate) const MEDIA_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Writes what is missing, in pieces, the last one first, and extracts meanwhile.
pub(crate) fn fetch(store: &ImageStore, wanted: &WantedLayer, blob: &[u8]) -> Result<LayerLease, ExtractFailure> {
    let incoming = store.incoming_layer(wanted).map_err(ExtractFailure::Failed)?;
    thread::scope(|scope| {
        let extractor = scope.spawn(|| incoming.extract(&mut |_| ()));
        for gap in incoming.missing() {
            for at in (gap.start..gap.end).step_by(100_000).collect::<Vec<_>>().into_iter().rev() {
                let end = gap.end.min(at + 100_000);
                if incoming.write(at, &blob[at as usize..end as usize]).is_err() {
                    break;
                }
            }
        }
        extractor.join().unwrap()
    })
}

pub(crate) fn arrive(store: &ImageStore, remote: &Remote, names: &[Reference]) -> Result<Committed, Error> {
    let mut arrival = store.arrival(remote.incoming())?;
    fetch_all(store, remote, &mut arrival)?;
    arrival.commit(names)
}

pub(crate) fn fetch_all(store: &ImageStore, remote: &Remote, arrival: &mut Arrival) -> Result<(), Error> {
    for (index, wanted) in arrival.layers().to_vec().iter().enumerate() {
        if !wanted.present {
            arrival.hold(index, &fetch(store, wanted, remote.blob(wanted))?)?;
        }
    }
    Ok(())
}
