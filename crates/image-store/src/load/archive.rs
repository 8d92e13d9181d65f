//! The members of an archive, spooled to disk, digested and, where they look like layers, extracted.

use super::{
    Described, invalid,
    unpack::{Crew, Done, Job, Unpacked},
};
use crate::{
    Compression, Progress,
    extract::{ExtractError, clean},
    files::Temporary,
    lease::Lease,
    pipeline::Begun,
    store::Inner,
    tar::{Archive, Entry, Kind, TarError},
};
use gantry_model::{Digest, Error, Result};
use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    sync::Arc,
    thread,
};

/// Members of an archive; an image has at most a few hundred.
const MAX_MEMBERS: usize = 50_000;
/// Members that are extracted before it is known that they are layers.
const MAX_ATTEMPTS: usize = 1000;
/// Links that lead to links.
const MAX_LINKS: usize = 8;
/// No larger than the buffers of the pipeline, which can then be read into directly.
const BUFFER: usize = 64 << 10;

pub(super) struct Spooled {
    store: Arc<Inner>,
    members: HashMap<Vec<u8>, Member>,
    /// Uses of blobs that the store had before.
    lease: Lease,
}

enum Member {
    File(Spool),
    Link(Vec<u8>),
}

/// A member that was read to its end.
struct Spool {
    digest: Digest,
    size: u64,
    compression: Compression,
    place: Place,
    /// What came of extracting it; `None` when nobody tried.
    unpacked: Option<Result<Unpacked>>,
}

enum Place {
    Spooled(Temporary),
    /// The store has it.
    Stored,
}

/// A member as a blob of the store.
pub(super) struct Kept {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) compression: Compression,
}

/// An archive that is being read.
struct Reading<'r, 'scope, 'env> {
    spooled: Spooled,
    crew: Crew<'scope, 'env>,
    attempts: usize,
    progress: &'r mut dyn FnMut(Progress),
}

impl Spooled {
    /// Takes the archive in and has its images described by whoever knows its table.
    pub(super) fn read(
        store: &Arc<Inner>,
        body: &mut dyn Read,
        describe: impl FnOnce(&Self) -> Result<Vec<Described>>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Vec<Described>)> {
        thread::scope(|scope| {
            let spooled = Self { store: store.clone(), members: HashMap::new(), lease: Lease::new(store) };
            let mut reading = Reading { spooled, crew: Crew::new(scope, store), attempts: 0, progress };
            reading.read(body)?;
            let described = describe(&reading.spooled)?;
            let layers = described.iter().flat_map(|image| &image.layers);
            let wanted = layers.filter_map(|member| reading.spooled.follow(member).ok().map(<[u8]>::to_vec)).collect();
            let Reading { mut spooled, crew, .. } = reading;
            for done in crew.finish(wanted) {
                spooled.note(done);
            }
            Ok((spooled, described))
        })
    }

    fn note(&mut self, done: Done) {
        // A later member may have the name by now.
        if let Some(Member::File(spool)) = self.members.get_mut(&done.member)
            && spool.digest == done.blob
        {
            spool.unpacked = Some(done.result);
        }
    }

    fn is_stored(&mut self, digest: &Digest, size: u64) -> bool {
        self.lease.use_sized_blob(digest, size)
    }

    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.members.contains_key(path)
    }

    /// The path of a member behind its links.
    fn follow<'p>(&'p self, path: &'p [u8]) -> Result<&'p [u8]> {
        let mut path = path;
        for _ in 0..MAX_LINKS {
            match self.members.get(path) {
                Some(Member::File(_)) => return Ok(path),
                Some(Member::Link(target)) => path = target,
                None => return Err(invalid(format_args!("{:?} is missing", String::from_utf8_lossy(path)))),
            }
        }
        Err(invalid(format_args!("too many links at {:?}", String::from_utf8_lossy(path))))
    }

    fn file(&self, path: &[u8]) -> Result<(&Spool, PathBuf)> {
        match self.members.get(self.follow(path)?) {
            Some(Member::File(spool)) => {
                let file = match &spool.place {
                    Place::Spooled(temporary) => temporary.path().to_owned(),
                    Place::Stored => self.store.files.blob(&spool.digest),
                };
                Ok((spool, file))
            }
            Some(Member::Link(_)) | None => Err(invalid("a link leads nowhere")),
        }
    }

    /// The digest and size of a member.
    pub(super) fn digest(&self, path: &[u8]) -> Result<(&Digest, u64)> {
        self.file(path).map(|(spool, _)| (&spool.digest, spool.size))
    }

    /// A small member as a whole.
    pub(super) fn read_small(&self, path: &[u8], most: u64) -> Result<Vec<u8>> {
        let (spool, file) = self.file(path)?;
        let size = spool.size;
        if size > most {
            let shown = String::from_utf8_lossy(path).into_owned();
            return Err(invalid(format_args!("{shown:?} has {size} bytes, more than the {most} that are allowed")));
        }
        Ok(std::fs::read(file)?)
    }

    /// Hands a member over to the store.
    pub(super) fn keep(&mut self, path: &[u8], lease: &mut Lease) -> Result<Kept> {
        let path = self.follow(path)?.to_vec();
        let Some(Member::File(spool)) = self.members.get_mut(&path) else {
            return Err(invalid("a link leads nowhere"));
        };
        let Spool { digest, size, compression, place, .. } = spool;
        match std::mem::replace(place, Place::Stored) {
            Place::Spooled(temporary) => {
                // Another image of the archive may need it after this one failed or was there already.
                self.lease.add_blob_file(temporary.path(), digest, *size)?;
            }
            Place::Stored => {}
        }
        if !lease.use_blob(digest) {
            return Err(Error::internal(format!("blob {digest} went away")));
        }
        Ok(Kept { digest: digest.clone(), size: *size, compression: *compression })
    }

    /// What came of extracting a member on its way in; only the first who asks gets it.
    pub(super) fn take_unpacked(&mut self, path: &[u8]) -> Option<Result<Unpacked>> {
        let path = self.follow(path).ok()?.to_vec();
        match self.members.get_mut(&path) {
            Some(Member::File(spool)) => spool.unpacked.take(),
            _ => None,
        }
    }
}

impl Reading<'_, '_, '_> {
    fn read(&mut self, body: &mut dyn Read) -> Result<()> {
        let mut buffered = BufReader::with_capacity(BUFFER, body);
        let compression = Compression::detect(buffered.fill_buf().map_err(|e| unreadable(TarError::Io(e)))?);
        let decoded = compression.decoder(buffered)?;
        let mut archive = Archive::new(BufReader::with_capacity(BUFFER, decoded));
        while let Some(entry) = archive.next_entry().map_err(unreadable)? {
            if self.spooled.members.len() >= MAX_MEMBERS {
                return Err(Error::from(ExtractError::Limit("entries")));
            }
            self.add(&mut archive, &entry)?;
        }
        Ok(())
    }

    fn add<R: BufRead>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<()> {
        let path = clean(&entry.path).map_err(Error::from)?;
        let member = match entry.kind {
            Kind::File if entry.sparse.is_some() => return Err(invalid("a member is sparse")),
            Kind::File => Member::File(self.spool(archive, &path, entry.size)?),
            Kind::Symlink => {
                let (directory, _) = crate::extract::split(&path);
                Member::Link(clean(&[directory, b"/", &entry.link].concat()).map_err(Error::from)?)
            }
            Kind::HardLink => Member::Link(clean(&entry.link).map_err(Error::from)?),
            // Directories, and what has no meaning in such an archive.
            Kind::Directory | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => return Ok(()),
        };
        self.spooled.members.insert(path, member);
        Ok(())
    }

    fn spool<R: BufRead>(&mut self, archive: &mut Archive<R>, path: &[u8], size: u64) -> Result<Spool> {
        let mut data = Data(archive);
        let begun = Begun::new(&mut data)?;
        let compression = begun.compression();
        if let Some(claimed) = claimed_digest(path)
            && self.spooled.is_stored(&claimed, size)
        {
            // No need to write what is there, only to see that it is the same.
            let (digest, size) = begun.spool(None)?;
            if digest != claimed {
                return Err(invalid(format_args!("blob {claimed} has the digest {digest}")));
            }
            return Ok(Spool { digest, size, compression, place: Place::Stored, unpacked: None });
        }
        let store = self.spooled.store.clone();
        let mut temporary = store.files.temporary_file()?;
        if compression == Compression::None && self.attempts < MAX_ATTEMPTS && begun.is_archive() {
            self.attempts += 1;
            return self.attempt(begun, path, size, temporary);
        }
        let (digest, size) = begun.spool(Some(temporary.file()))?;
        temporary.close();
        if compression != Compression::None && self.attempts < MAX_ATTEMPTS {
            self.attempts += 1;
            self.crew.add(Job { member: path.to_vec(), file: temporary.path().to_owned(), blob: digest.clone() });
        }
        Ok(Spool { digest, size, compression, place: Place::Spooled(temporary), unpacked: None })
    }

    /// Keeps and extracts a member at once.
    fn attempt(&mut self, begun: Begun<'_>, path: &[u8], size: u64, mut temporary: Temporary) -> Result<Spool> {
        let store = self.spooled.store.clone();
        let directory = store.files.temporary_layer()?;
        let id = claimed_digest(path).map(|digest| digest.short().to_owned());
        let mut report = |done| {
            // Without a claim nobody knows yet what to call it.
            if let Some(id) = id.clone() {
                (self.progress)(Progress::Layer { id, done, total: size });
            }
        };
        let root = directory.path().join("diff");
        let (digest, size, extracted) = begun.attempt(temporary.file(), &root, store.limits, &mut report)?;
        temporary.close();
        let diff_id = digest.clone();
        let unpacked = extracted.map(|extracted| Unpacked { diff_id, size: extracted.size, directory });
        Ok(Spool {
            digest,
            size,
            compression: Compression::None,
            place: Place::Spooled(temporary),
            unpacked: Some(unpacked),
        })
    }
}

/// `blobs/sha256/…` says what its digest should be.
fn claimed_digest(path: &[u8]) -> Option<Digest> {
    let hex = path.strip_prefix(b"blobs/sha256/")?;
    format!("sha256:{}", std::str::from_utf8(hex).ok()?).parse().ok()
}

fn unreadable(e: TarError) -> Error {
    ExtractError::from(e).into()
}

/// The data of the current entry.
struct Data<'a, R>(&'a mut Archive<R>);

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_data(buffer).map_err(io::Error::other)
    }
}
