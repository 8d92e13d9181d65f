//! Removing names and images, by the reference engine's rules for `DELETE /images/{name}`.

use crate::{
    Image, ImageId, ImageStore,
    arrival::lasting,
    records::{DETACHED, IMAGES, ImageRecord, REFERENCES},
    resolve,
    state::State,
    store::Inner,
};
use gantry_model::{Error, Reference, Result};
use gantry_state_db::Batch;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// How to remove.
#[derive(Debug, Clone, Copy, Default)]
pub struct RemoveOptions {
    /// Also when there are several names or stopped containers.
    pub force: bool,
    /// Then also parents that have no name and no other child.
    pub prune: bool,
}

/// Who uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InUse {
    /// No container.
    None,
    /// A stopped container, by its short id.
    Stopped(String),
    /// A running container, by its short id.
    Running(String),
}

/// One thing that a removal did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// A name was taken away.
    Untagged {
        /// The name, in the short form.
        name: String,
        /// The image that had it.
        image: ImageId,
    },
    /// An image was removed.
    Image(ImageId),
    /// A layer, by its chain id.
    Layer(String),
}

/// Asks the engine about containers.
pub type Users<'a> = &'a dyn Fn(&ImageId) -> InUse;

impl ImageStore {
    /// Removes a name, and the image when that was its last one; or, when `name` is an id, the image.
    pub fn remove(&self, name: &str, options: RemoveOptions, in_use: Users<'_>) -> Result<Vec<Deleted>> {
        self.remove_counted(name, options, in_use).map(|(deleted, _)| deleted)
    }

    /// The same, with the bytes of file data that it freed.
    fn remove_counted(&self, name: &str, options: RemoveOptions, in_use: Users<'_>) -> Result<(Vec<Deleted>, u64)> {
        let _changing = self.inner.change();
        let plan = {
            let state = self.inner.read_state();
            let image = resolve::resolve(&state, name)?;
            let mut plan = Plan { state: &state, in_use, names: BTreeSet::new(), steps: Vec::new() };
            plan.remove(name, &image, options)?;
            Steps { names: plan.names, steps: plan.steps }
        };
        self.inner.carry_out(&plan)
    }

    /// Removes images that no tag leads to, that no image was made from and that no container uses, and that `wanted`
    /// agrees to. Returns what was removed and how many bytes that freed.
    pub fn prune(&self, wanted: &dyn Fn(&Image) -> bool, in_use: Users<'_>) -> (Vec<Deleted>, u64) {
        self.prune_unused(&|image| image.repo_tags.is_empty() && wanted(image), in_use)
    }

    /// The same for images with tags too.
    pub fn prune_unused(&self, wanted: &dyn Fn(&Image) -> bool, in_use: Users<'_>) -> (Vec<Deleted>, u64) {
        let options = RemoveOptions { force: false, prune: true };
        let mut deleted = Vec::new();
        let mut freed = 0;
        for image in children_first(self.list()) {
            if self.has_children(&image.id) || in_use(&image.id) != InUse::None || !wanted(&image) {
                continue;
            }
            // A name at a time, so that each is reported; the last takes the image along.
            let names = image.repo_tags.iter().chain(&image.repo_digests).cloned();
            let names: Vec<String> = if image.is_unnamed() { vec![image.id.to_string()] } else { names.collect() };
            for name in names {
                match self.remove_counted(&name, options, in_use) {
                    Ok((steps, bytes)) => {
                        deleted.extend(steps);
                        freed += bytes;
                    }
                    // Somebody else was faster, or began to use it.
                    Err(e) => tracing::debug!("prune leaves {name}: {e}"),
                }
            }
        }
        (deleted, freed)
    }
}

/// Images in an order in which each comes before the one it was made from, so that both can go.
fn children_first(images: Vec<Arc<Image>>) -> Vec<Arc<Image>> {
    let parents: HashMap<ImageId, ImageId> =
        images.iter().filter_map(|image| Some((image.id.clone(), image.parent.clone()?))).collect();
    let ancestors = |image: &Arc<Image>| {
        let chain = std::iter::successors(parents.get(&image.id), |id| parents.get(id));
        chain.take(parents.len()).count()
    };
    let mut images = images;
    images.sort_by_cached_key(|image| std::cmp::Reverse(ancestors(image)));
    images
}

/// What a removal is going to do.
struct Steps {
    names: BTreeSet<Reference>,
    steps: Vec<Step>,
}

enum Step {
    Untag(Reference, ImageId),
    Delete(ImageId),
}

/// Decides what to do without doing it, so that it happens as a whole or not at all.
struct Plan<'s> {
    state: &'s State,
    in_use: Users<'s>,
    names: BTreeSet<Reference>,
    steps: Vec<Step>,
}

impl Plan<'_> {
    fn remove(&mut self, name: &str, image: &Image, options: RemoveOptions) -> Result<()> {
        let id = &image.id;
        let mut by_name = false;
        if is_id_prefix(id, name) {
            // An id stands for all names, as long as they are of one repository.
            if is_single(&self.names_of(id)) {
                self.conflict(id, !options.force, false)?;
                self.untag_all(id);
            }
        } else {
            self.remove_name(name, id, options)?;
            if !self.names_of(id).is_empty() {
                return Ok(());
            }
            by_name = true;
        }
        self.delete(id, options, by_name)
    }

    fn remove_name(&mut self, name: &str, id: &ImageId, options: RemoveOptions) -> Result<()> {
        if !options.force
            && is_single(&self.names_of(id))
            && let InUse::Stopped(container) | InUse::Running(container) = (self.in_use)(id)
        {
            return Err(Error::conflict(format!(
                "conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is \
                     using its referenced image {}",
                id.short()
            )));
        }
        // `name:tag@digest` is a name by digest.
        let reference = lasting(&Reference::parse(name)?)?;
        let by_digest = reference.digest().is_some();
        self.untag(&reference, id);
        // Names by digest go with the last tag of their repository.
        let same_repository = |r: &Reference| r.name() == reference.name();
        let names = self.names_of(id);
        if !by_digest && !names.iter().any(|r| r.digest().is_none() && same_repository(r)) {
            names.iter().filter(|r| same_repository(r)).for_each(|r| self.untag(r, id));
        }
        Ok(())
    }

    /// Removes an image and, where wished, the parents that only it kept. A conflict is silent when a name was removed
    /// before and the image may stay.
    fn delete(&mut self, id: &ImageId, options: RemoveOptions, quiet: bool) -> Result<()> {
        if let Err(conflict) = self.conflict(id, !options.force, true) {
            let used = (self.in_use)(id) != InUse::None;
            let dangling = self.names_of(id).is_empty() && self.children(id) == 0;
            return if quiet && (!dangling || used) { Ok(()) } else { Err(conflict) };
        }
        self.untag_all(id);
        self.steps.push(Step::Delete(id.clone()));
        let parent = self.state.get(id).and_then(|known| known.image.parent.clone());
        match parent.filter(|parent| options.prune && self.state.get(parent).is_some()) {
            Some(parent) => self.delete(&parent, RemoveOptions { force: false, prune: true }, true),
            None => Ok(()),
        }
    }

    /// What forbids removing an image; some of it only `soft`ly, that is, without force.
    fn conflict(&self, id: &ImageId, soft: bool, names_count: bool) -> Result<()> {
        let conflict = |how: &str, why: String| {
            Err(Error::conflict(format!("conflict: unable to delete {} ({how}) - {why}", id.short())))
        };
        if self.children(id) > 0 {
            return conflict("cannot be forced", "image has dependent child images".into());
        }
        let users = (self.in_use)(id);
        if let InUse::Running(container) = &users {
            return conflict("cannot be forced", format!("image is being used by running container {container}"));
        }
        if soft && names_count && !self.names_of(id).is_empty() {
            return conflict("must be forced", "image is referenced in multiple repositories".into());
        }
        if let (true, InUse::Stopped(container)) = (soft, &users) {
            return conflict("must be forced", format!("image is being used by stopped container {container}"));
        }
        Ok(())
    }

    /// The names that are left.
    fn names_of(&self, id: &ImageId) -> Vec<Reference> {
        let mut names = self.state.names_of(id);
        names.retain(|name| !self.names.contains(name));
        names
    }

    /// Children that are left.
    fn children(&self, id: &ImageId) -> usize {
        let going = |child: &ImageId| self.steps.iter().any(|step| matches!(step, Step::Delete(id) if id == child));
        self.state.children(id).filter(|child| !going(&child.id)).count()
    }

    fn untag(&mut self, name: &Reference, id: &ImageId) {
        self.names.insert(name.clone());
        self.steps.push(Step::Untag(name.clone(), id.clone()));
    }

    fn untag_all(&mut self, id: &ImageId) {
        for name in self.names_of(id) {
            self.untag(&name, id);
        }
    }
}

impl Inner {
    /// Makes a plan durable, then true. The caller holds the right to change. Returns what was done and the bytes of
    /// file data that it freed.
    fn carry_out(self: &Arc<Self>, plan: &Steps) -> Result<(Vec<Deleted>, u64)> {
        let mut batch = Batch::new();
        for name in &plan.names {
            batch = batch.delete(REFERENCES, &name.to_string());
        }
        let going: Vec<&ImageId> =
            plan.steps.iter().filter_map(|s| if let Step::Delete(id) = s { Some(id) } else { None }).collect();
        let mut detached: BTreeMap<&ImageId, ImageRecord> = BTreeMap::new();
        {
            let state = self.read_state();
            for id in going {
                batch = batch.delete(IMAGES, id.as_str());
                // A container still stands on its layers: remember which they are.
                if let Some(known) = state.get(id).filter(|_| Self::is_held(&state, id)) {
                    batch = batch.put(DETACHED, id.as_str(), &known.record).map_err(Error::from)?;
                    detached.insert(id, known.record.clone());
                }
            }
        }
        self.db.commit(batch).map_err(Error::from)?;

        let mut state = self.write_state();
        for name in &plan.names {
            if let Some(record) = state.references.remove(name) {
                state.rename(&record.image);
            }
        }
        let mut removed = Vec::new();
        for step in &plan.steps {
            match step {
                Step::Untag(name, id) => {
                    removed.push((Deleted::Untagged { name: name.familiar(), image: id.clone() }, None));
                }
                Step::Delete(id) => {
                    let record = state.remove(id);
                    let released = match detached.remove(id) {
                        Some(record) => {
                            state.detached.insert(id.clone(), record);
                            None
                        }
                        None => record.map(|record| (id, record)),
                    };
                    removed.push((Deleted::Image(id.clone()), released));
                }
            }
        }
        drop(state);
        self.index_later();
        let mut deleted = Vec::new();
        let mut freed = 0;
        for (step, released) in removed {
            deleted.push(step);
            if let Some((id, record)) = released {
                let released = self.release_record(id, &record);
                deleted.extend(released.chains.iter().map(|id| Deleted::Layer(id.to_string())));
                freed += released.freed;
            }
        }
        Ok((deleted, freed))
    }
}

/// Whether all names are one: a single tag, at most with names by digest in the same repository.
fn is_single(names: &[Reference]) -> bool {
    let tags = names.iter().filter(|name| name.digest().is_none()).count();
    let repositories: BTreeSet<String> = names.iter().map(Reference::name).collect();
    names.len() <= 1 || (tags <= 1 && repositories.len() == 1)
}

/// Whether the caller named the image by its id.
fn is_id_prefix(id: &ImageId, name: &str) -> bool {
    id.as_str().starts_with(name) || id.digest().hex().starts_with(name)
}
