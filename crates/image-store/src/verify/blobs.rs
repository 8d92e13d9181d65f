//! Every blob against its digest.

use super::{Severity, Subject, Verifier, VerifyStep};
use crate::recover;
use gantry_model::Digest;
use std::{collections::BTreeMap, io};

impl Verifier<'_> {
    pub(super) fn blobs(&mut self) {
        let mut needed: BTreeMap<Digest, Option<u64>> = BTreeMap::new();
        for (id, record) in &self.records {
            let sizes = record.layers.iter().map(|layer| (&layer.blob, Some(layer.blob_size)));
            let manifest = (&record.manifest, Some(record.manifest_size));
            let index = record.index.iter().map(|index| (&index.digest, None));
            let document = (id.digest(), Some(record.document.len() as u64));
            needed.extend([document, manifest].into_iter().chain(index).chain(sizes).map(|(d, s)| (d.clone(), s)));
        }
        let total = needed.len();
        for (done, (digest, size)) in needed.into_iter().enumerate() {
            (self.progress)(VerifyStep::Blob { digest: digest.clone(), done, total });
            self.blob(&digest, size);
        }
    }

    fn blob(&mut self, digest: &Digest, size: Option<u64>) {
        let found = self.inner.files.blob_size(digest);
        let problem = match (found, size) {
            (None, _) => Some("it is missing".to_owned()),
            (Some(found), Some(size)) if found != size => Some(format!("it has {found} bytes instead of {size}")),
            (Some(found), _) => {
                self.report.blobs += 1;
                self.report.bytes += found;
                match recover::digest_of(&self.inner.files.blob(digest)) {
                    Ok(is) if is == *digest => None,
                    Ok(is) => Some(format!("its digest is {is}")),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Some("it is missing".to_owned()),
                    Err(e) => Some(format!("it cannot be read: {e}")),
                }
            }
        };
        let Some(what) = problem else {
            self.good.insert(digest.clone());
            if self.options.repair {
                self.inner.mended(digest);
            }
            return;
        };
        if self.options.repair {
            self.inner.mark_damaged(digest, &what);
        }
        let users: Vec<String> =
            self.records.iter().filter(|(id, r)| r.blobs(id).any(|b| b == digest)).map(shown).collect();
        let users = users.join(", ");
        let help = if self.options.repair { "the next pull fetches it again" } else { "needed" };
        self.find(Subject::Blob(digest.clone()), Severity::Damage, format!("{what}; {help}, by {users}"), false);
    }
}

fn shown((id, _): &(crate::ImageId, crate::records::ImageRecord)) -> String {
    format!("image {}", id.short())
}
