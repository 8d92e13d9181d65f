//! Looking at every byte of the store, and saying exactly what is wrong with it.
//!
//! Nothing is changed unless that is asked for; a layer is extracted once more under a temporary name to be compared
//! with its directory. What is looked at stays in the store meanwhile, so this can run beside everything else.

mod blobs;
mod images;
mod layers;
mod leftovers;
mod report;
mod tree;

use crate::{ImageStore, lease::Lease, records::ImageRecord, store::Inner};
use gantry_model::{Digest, Result};
pub use report::{Finding, Report, Severity, Subject, VerifyStep};
use std::collections::HashSet;

/// How to verify.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions {
    /// Also put right what can be: damaged blobs are marked for the next pull, layers that differ are extracted anew,
    /// and what nobody needs is removed.
    pub repair: bool,
}

impl ImageStore {
    /// Verifies the whole store. Fails only where it cannot even look.
    pub fn verify(&self, options: VerifyOptions, progress: &mut dyn FnMut(VerifyStep)) -> Result<Report> {
        // What was committed a moment ago is in the index then.
        self.flush();
        let mut verifier = Verifier {
            inner: &self.inner,
            lease: Lease::new(&self.inner),
            options,
            progress,
            report: Report::default(),
            good: HashSet::new(),
            records: self.inner.read_state().every_record(),
        };
        verifier.lease.pin(&verifier.records);
        verifier.blobs();
        verifier.images()?;
        verifier.layers();
        verifier.leftovers()?;
        Ok(verifier.report)
    }
}

struct Verifier<'a> {
    inner: &'a std::sync::Arc<Inner>,
    /// Keeps everything in place that `records` name.
    lease: Lease,
    options: VerifyOptions,
    progress: &'a mut dyn FnMut(VerifyStep),
    report: Report,
    /// Blobs whose bytes are what they should be.
    good: HashSet<Digest>,
    records: Vec<(crate::ImageId, ImageRecord)>,
}

impl Verifier<'_> {
    fn find(&mut self, subject: Subject, severity: Severity, what: impl Into<String>, repaired: bool) {
        self.report.findings.push(Finding { subject, severity, what: what.into(), repaired });
    }
}
