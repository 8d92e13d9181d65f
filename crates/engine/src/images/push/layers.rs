//! The layers of a push: as they are stored where they are compressed, else compressed on the way.
//!
//! Registries and current tools take uncompressed layers too. But whoever pulls the image would fetch several times the
//! bytes, every time, so what was made here without compression (an import, a commit, an archive of `docker save`) is
//! compressed once and its digest remembered. An image that came from a registry keeps its layers as they came,
//! compressed or not: its digest must survive.

use super::{Push, blob::Arrived, gzip};
use crate::images::lines::{self, Meter};
use crate::operation::Reporter;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gantry_image_store::{Compression, Image, Layer, ManifestBlob, StoredManifest};
use gantry_model::{Digest, Error, Result};
use std::collections::{HashMap, HashSet};

/// A layer as the registry has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl Push {
    /// Sees to it that the registry has every layer; they come back in the manifest's order.
    pub(super) async fn layers(
        &self,
        image: &Image,
        stored: &StoredManifest,
        reporter: &Reporter,
    ) -> Result<Vec<Sent>> {
        if image.layers.len() != stored.layers.len() {
            return Err(Error::internal("the stored manifest has not as many layers as the image"));
        }
        let original = is_from_registry(image, stored);
        let mut seen = HashSet::new();
        // The top first, as people read them. By the blobs, because a manifest may name an archive twice, compressed
        // in different ways.
        let pairs = image.layers.iter().zip(&stored.layers).rev();
        let pairs: Vec<_> = pairs.filter(|(layer, _)| seen.insert(&layer.blob)).collect();
        for (layer, _) in &pairs {
            reporter.tell(lines::state(layer.diff_id.short(), "Preparing"));
        }
        let pushes = pairs.into_iter().map(|(layer, entry)| self.layer(layer, entry, original, reporter));
        let mut pushes: FuturesUnordered<_> = pushes.collect();
        let mut sent: HashMap<&Digest, Sent> = HashMap::new();
        while let Some(pushed) = pushes.next().await {
            let (blob, layer) = pushed?;
            sent.insert(blob, layer);
        }
        let in_order = image.layers.iter().map(|layer| sent.get(&layer.blob).cloned());
        in_order.collect::<Option<_>>().ok_or_else(|| Error::internal("a layer was not pushed"))
    }

    async fn layer<'l>(
        &self,
        layer: &'l Layer,
        entry: &ManifestBlob,
        original: bool,
        reporter: &Reporter,
    ) -> Result<(&'l Digest, Sent)> {
        let id = layer.diff_id.short();
        let as_stored = Sent { digest: layer.blob.clone(), size: layer.blob_size };
        if !entry.urls.is_empty() {
            reporter.tell(lines::state(id, "Skipped foreign layer"));
            return Ok((&layer.blob, Sent { digest: entry.digest.clone(), size: entry.size }));
        }
        let uploads = self.engine.transfers.uploads();
        let _turn = if let Ok(turn) = uploads.try_acquire() {
            turn
        } else {
            reporter.tell(lines::state(id, "Waiting"));
            uploads.acquire().await.map_err(|_| Error::cancelled("the daemon is shutting down"))?
        };
        let meter = Meter::new(id, reporter);
        let compressed = matches!(layer.compression, Compression::Gzip | Compression::Zstd);
        let (sent, arrived) = if original || compressed {
            let arrived = self.stored_blob(&as_stored.digest, as_stored.size, meter).await?;
            (as_stored, arrived)
        } else {
            self.compressed_layer(layer, meter).await?
        };
        reporter.tell(lines::state(id, arrived.status()));
        Ok((&layer.blob, sent))
    }

    /// Compresses a layer, unless that was done before and the registry still has what came out.
    async fn compressed_layer(&self, layer: &Layer, meter: Meter) -> Result<(Sent, Arrived)> {
        if let Some(known) = self.engine.places.gzipped(&layer.diff_id)
            && let Some(arrived) = self.already_there(&known.digest).await?
        {
            return Ok((known, arrived));
        }
        let (store, directory, layer) =
            (self.engine.images.clone(), self.engine.config.data_root.clone(), layer.clone());
        let diff_id = layer.diff_id.clone();
        let cancelled = gzip::Cancelled::default();
        let _cancel = cancelled.clone().on_drop();
        let gzipped = crate::blocking(move || gzip::gzip(&store, &layer, &directory, &cancelled)).await?;
        self.engine.places.remember_gzipped(&diff_id, &gzipped.sent);
        let arrived = self.blob(&gzipped.sent.digest, gzipped.sent.size, gzipped.content(), meter).await?;
        Ok((gzipped.sent, arrived))
    }
}

/// Whether a registry knows the image by the manifest that is stored, or by the index that it was chosen from.
fn is_from_registry(image: &Image, stored: &StoredManifest) -> bool {
    let index = stored.index.as_ref().map(|(_, digest)| digest);
    let known = |digest: &Digest| image.repo_digests.iter().any(|name| name.ends_with(&format!("@{digest}")));
    known(&stored.digest) || index.is_some_and(known)
}
