//! Every layer's directory against what its blob makes.

use super::{
    Severity, Subject, Verifier, VerifyStep,
    tree::{self, Difference},
};
use crate::{
    files::Temporary,
    pipeline::{self, Keep, Plan},
    recover,
};
use gantry_model::{Digest, Error, Result};
use std::{collections::BTreeMap, fs::File, time::SystemTime};

/// Differences of one layer that are reported one by one.
const MOST: usize = 20;

impl Verifier<'_> {
    pub(super) fn layers(&mut self) {
        // A sound blob for each layer, where there is one.
        let mut sources: BTreeMap<Digest, Option<Digest>> = BTreeMap::new();
        for layer in self.records.iter().flat_map(|(_, record)| &record.layers) {
            let source = sources.entry(layer.diff_id.clone()).or_default();
            if source.is_none() && self.good.contains(&layer.blob) {
                *source = Some(layer.blob.clone());
            }
        }
        let total = sources.len();
        for (done, (diff_id, blob)) in sources.into_iter().enumerate() {
            (self.progress)(VerifyStep::Layer { diff_id: diff_id.clone(), done, total });
            let missing = !self.inner.files.has_layer(&diff_id);
            let subject = || Subject::Layer(diff_id.clone());
            let Some(blob) = blob else {
                let (severity, what) = if missing {
                    (Severity::Damage, "its directory is missing, and there is no sound blob to make it from")
                } else {
                    (Severity::Unchecked, "there is no sound blob to compare it with")
                };
                self.find(subject(), severity, what, false);
                continue;
            };
            if let Err(e) = self.layer(&diff_id, &blob, missing) {
                self.find(subject(), Severity::Unchecked, format!("it cannot be compared with its blob: {e}"), false);
            }
        }
    }

    fn layer(&mut self, diff_id: &Digest, blob: &Digest, missing: bool) -> Result<()> {
        let started = SystemTime::now();
        let fresh = self.extract(diff_id, blob)?;
        let mut differences = Vec::new();
        let mut more = 0;
        if missing {
            differences.push(Difference { path: Vec::new(), what: "its directory is missing".to_owned() });
        } else {
            let mut note = |difference| {
                if differences.len() < MOST {
                    differences.push(difference);
                } else {
                    more += 1;
                }
            };
            let old = self.inner.files.layer(diff_id).join("diff");
            tree::compare(&old, &fresh.path().join("diff"), started, &mut note)?;
            self.report.layers += 1;
        }
        let repaired = self.options.repair && !differences.is_empty();
        if repaired {
            self.inner.files.replace_layer(diff_id, fresh, &recover::boot()?)?;
        }
        for difference in differences {
            let path = String::from_utf8_lossy(&difference.path);
            let what = if path.is_empty() { difference.what } else { format!("/{path}: {}", difference.what) };
            self.find(Subject::Layer(diff_id.clone()), Severity::Damage, what, repaired);
        }
        if more > 0 {
            self.find(Subject::Layer(diff_id.clone()), Severity::Damage, format!("and {more} more"), repaired);
        }
        Ok(())
    }

    /// What the directory should be.
    fn extract(&self, diff_id: &Digest, blob: &Digest) -> Result<Temporary> {
        let fresh = self.inner.files.temporary_layer()?;
        let diff = fresh.path().join("diff");
        let plan = Plan { known: Some(blob), keep: Keep::No, extract: Some(&diff), limits: self.inner.limits };
        let mut file = File::open(self.inner.files.blob(blob))?;
        let made = pipeline::run(&mut file, &plan, &mut |_| ())?;
        if made.diff_id != *diff_id {
            return Err(Error::internal(format!("blob {blob} holds the archive {}", made.diff_id)));
        }
        Ok(fresh)
    }
}
