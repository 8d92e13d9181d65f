//! The members of an archive, spooled to disk and digested.

use super::invalid;
use crate::{
    Compression, Progress,
    extract::{ExtractError, clean},
    files::Temporary,
    lease::Lease,
    pipeline,
    store::Inner,
    tar::{Archive, Entry, Kind, TarError},
};
use gantry_model::{Digest, Error, Result};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    sync::Arc,
};

/// Members of an archive; an image has at most a few hundred.
const MAX_MEMBERS: usize = 50_000;
/// Links that lead to links.
const MAX_LINKS: usize = 8;
const BUFFER: usize = 1 << 20;

pub(super) struct Spooled {
    store: Arc<Inner>,
    members: HashMap<Vec<u8>, Member>,
    /// Uses of blobs that the store had before.
    lease: Lease,
}

enum Member {
    File { digest: Digest, size: u64, place: Place },
    Link(Vec<u8>),
}

enum Place {
    Spooled(Temporary),
    /// The store has it.
    Stored,
}

impl Spooled {
    pub(super) fn read(store: &Arc<Inner>, body: &mut dyn Read, progress: &mut dyn FnMut(Progress)) -> Result<Self> {
        let mut spooled = Self { store: store.clone(), members: HashMap::new(), lease: Lease::new(store) };
        let mut received = 0;
        let mut counted = Counted {
            body,
            count: &mut |length| {
                received += length;
                progress(Progress::Received { bytes: received });
            },
        };
        let mut buffered = BufReader::with_capacity(BUFFER, &mut counted);
        let compression = Compression::detect(buffered.fill_buf().map_err(|e| unreadable(TarError::Io(e)))?);
        let decoded = compression.decoder(buffered)?;
        let mut archive = Archive::new(BufReader::with_capacity(BUFFER, decoded));
        while let Some(entry) = archive.next_entry().map_err(unreadable)? {
            if spooled.members.len() >= MAX_MEMBERS {
                return Err(Error::from(ExtractError::Limit("entries")));
            }
            spooled.add(&mut archive, &entry)?;
        }
        Ok(spooled)
    }

    fn add<R: BufRead>(&mut self, archive: &mut Archive<R>, entry: &Entry) -> Result<()> {
        let path = clean(&entry.path).map_err(Error::from)?;
        let member = match entry.kind {
            Kind::File if entry.sparse.is_some() => return Err(invalid("a member is sparse")),
            Kind::File => self.spool(archive, &path, entry.size)?,
            Kind::Symlink => {
                let (directory, _) = crate::extract::split(&path);
                Member::Link(clean(&[directory, b"/", &entry.link].concat()).map_err(Error::from)?)
            }
            Kind::HardLink => Member::Link(clean(&entry.link).map_err(Error::from)?),
            // Directories, and what has no meaning in such an archive.
            Kind::Directory | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => return Ok(()),
        };
        self.members.insert(path, member);
        Ok(())
    }

    fn spool<R: BufRead>(&mut self, archive: &mut Archive<R>, path: &[u8], size: u64) -> Result<Member> {
        let mut data = Data(archive);
        if let Some(claimed) = claimed_digest(path)
            && self.is_stored(&claimed, size)
        {
            // No need to write what is there, only to see that it is the same.
            let (digest, size) = pipeline::spool(&mut data, None)?;
            if digest != claimed {
                return Err(invalid(format_args!("blob {claimed} has the digest {digest}")));
            }
            return Ok(Member::File { digest, size, place: Place::Stored });
        }
        let mut temporary = self.store.files.temporary_file()?;
        let file = temporary.file().try_clone()?;
        let (digest, size) = pipeline::spool(&mut data, Some(&file))?;
        Ok(Member::File { digest, size, place: Place::Spooled(temporary) })
    }

    fn is_stored(&mut self, digest: &Digest, size: u64) -> bool {
        let there = std::fs::metadata(self.store.files.blob(digest)).is_ok_and(|found| found.len() == size);
        there && self.lease.use_blob(digest)
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.members.contains_key(path.as_bytes())
    }

    /// The path of a member behind its links.
    fn follow<'p>(&'p self, path: &'p [u8]) -> Result<&'p [u8]> {
        let mut path = path;
        for _ in 0..MAX_LINKS {
            match self.members.get(path) {
                Some(Member::File { .. }) => return Ok(path),
                Some(Member::Link(target)) => path = target,
                None => return Err(invalid(format_args!("{:?} is missing", String::from_utf8_lossy(path)))),
            }
        }
        Err(invalid(format_args!("too many links at {:?}", String::from_utf8_lossy(path))))
    }

    fn file(&self, path: &[u8]) -> Result<(&Digest, u64, PathBuf)> {
        match self.members.get(self.follow(path)?) {
            Some(Member::File { digest, size, place: Place::Spooled(temporary) }) => {
                Ok((digest, *size, temporary.path().to_owned()))
            }
            Some(Member::File { digest, size, place: Place::Stored }) => {
                Ok((digest, *size, self.store.files.blob(digest)))
            }
            Some(Member::Link(_)) | None => Err(invalid("a link leads nowhere")),
        }
    }

    /// The digest of a member.
    pub(super) fn digest(&self, path: &[u8]) -> Result<&Digest> {
        self.file(path).map(|(digest, ..)| digest)
    }

    /// A small member as a whole.
    pub(super) fn read_small(&self, path: &[u8], most: u64) -> Result<Vec<u8>> {
        let (_, size, file) = self.file(path)?;
        if size > most {
            let shown = String::from_utf8_lossy(path).into_owned();
            return Err(invalid(format_args!("{shown:?} has {size} bytes, more than the {most} that are allowed")));
        }
        Ok(std::fs::read(file)?)
    }

    /// Hands a member over to the store; returns its digest, size and compression.
    pub(super) fn keep(&mut self, path: &[u8], lease: &mut Lease) -> Result<(Digest, u64, Compression)> {
        let path = self.follow(path)?.to_vec();
        let Some(Member::File { digest, size, place }) = self.members.get_mut(&path) else {
            return Err(invalid("a link leads nowhere"));
        };
        match std::mem::replace(place, Place::Stored) {
            Place::Spooled(temporary) => lease.add_blob(temporary, digest)?,
            Place::Stored if lease.use_blob(digest) => {}
            Place::Stored => return Err(Error::internal(format!("blob {digest} went away"))),
        }
        // Another image of the archive may need it after this one failed or was there already.
        if !self.lease.use_blob(digest) {
            return Err(Error::internal(format!("blob {digest} went away")));
        }
        let mut start = Vec::new();
        File::open(self.store.files.blob(digest))?.take(Compression::MAGIC as u64).read_to_end(&mut start)?;
        Ok((digest.clone(), *size, Compression::detect(&start)))
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
        let data = self.0.data().map_err(io::Error::other)?;
        let length = data.len().min(buffer.len());
        buffer[..length].copy_from_slice(&data[..length]);
        self.0.consume(length);
        Ok(length)
    }
}

struct Counted<'a> {
    body: &'a mut dyn Read,
    count: &'a mut dyn FnMut(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.body.read(buffer)?;
        (self.count)(length as u64);
        Ok(length)
    }
}
