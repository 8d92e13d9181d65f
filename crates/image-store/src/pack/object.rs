//! What is in one object of a tree: data, attributes, the target of a link.

use super::{Found, PackError, read};
use crate::tar::Writer;
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{CWD, Mode, OFlags, SeekFrom, getxattr, listxattr, openat, readlinkat, seek},
    io::{Errno, pread},
};
use std::io::{self, Write};

const BUFFER: usize = 128 << 10;
/// The kernel's limits on the list of names and on a value.
const MAX_XATTR: usize = 64 << 10;
const OPAQUE: &str = "trusted.overlay.opaque";

/// Who failed while data was copied.
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    pub(super) fn into_pack_error(self, path: &[u8]) -> PackError {
        match self {
            Self::Read(e) => read(path, e),
            Self::Write(e) => PackError::Write(e),
        }
    }
}

/// Reads objects into buffers that are made once.
pub(super) struct Reader {
    buffer: Vec<u8>,
    names: Vec<u8>,
    /// How much of the names is the last object's.
    listed: usize,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; BUFFER], names: vec![0; MAX_XATTR], listed: 0 }
    }

    /// The attributes that belong to a file wherever it is.
    pub(super) fn xattrs(&mut self, found: &Found) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let object = magic(&found.fd);
        let length = match listxattr(&object, self.names.as_mut_slice()) {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(e) => return Err(e.into()),
        };
        self.listed = length;
        let mut all = Vec::new();
        for name in self.names[..length].split(|&b| b == 0).filter(|name| is_portable(name)) {
            match getxattr(&object, name, self.buffer.as_mut_slice()) {
                Ok(length) => all.push((name.to_vec(), self.buffer[..length].to_vec())),
                // Removed meanwhile, or only listed.
                Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(e) => return Err(e.into()),
            }
        }
        all.sort_unstable();
        Ok(all)
    }

    /// Names of the other attributes of the object that was looked at last, without the mark of an opaque directory,
    /// which its archive tells in its own way.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &[u8]> {
        let names = self.names[..self.listed].split(|&b| b == 0).filter(|name| !name.is_empty());
        names.filter(|name| !is_portable(name) && *name != OPAQUE.as_bytes())
    }

    /// Copies as much data as the entry needs. Holes are not read; what a file has lost meanwhile becomes zeros, what
    /// it has gained is left out.
    pub(super) fn copy<W: Write>(
        &mut self,
        file: &OwnedFd,
        found: &Found,
        writer: &mut Writer<W>,
    ) -> Result<(), CopyError> {
        let size = writer.remaining();
        let blocks = u64::try_from(found.stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let sparse = blocks < size;
        let mut data_end = if sparse { 0 } else { size };
        while writer.remaining() > 0 {
            let at = size - writer.remaining();
            if at == data_end {
                let (start, end) = next_data(file, at, size).map_err(CopyError::Read)?;
                writer.hole(start - at).map_err(CopyError::Write)?;
                data_end = end;
                continue;
            }
            let wanted = usize::try_from(data_end - at).unwrap_or(usize::MAX).min(self.buffer.len());
            match pread(file, &mut self.buffer[..wanted], at) {
                Ok(0) => return writer.hole(writer.remaining()).map_err(CopyError::Write),
                Ok(length) => writer.data(&self.buffer[..length]).map_err(CopyError::Write)?,
                Err(Errno::INTR) => {}
                Err(e) => return Err(CopyError::Read(e.into())),
            }
        }
        Ok(())
    }
}

/// The same for a few objects, of which most have none.
pub(super) fn attributes(found: &Found) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut none: [u8; 0] = [];
    match listxattr(magic(&found.fd), &mut none[..]) {
        Ok(0) | Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Ok(_) => Reader::new().xattrs(found),
        Err(e) => Err(e.into()),
    }
}

/// The next range of data at or after `at`; an empty one at the end if there is none.
fn next_data(file: &OwnedFd, at: u64, size: u64) -> io::Result<(u64, u64)> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start.min(size),
        Err(Errno::NXIO) => return Ok((size, size)),
        // This file system does not tell.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((at, size)),
        Err(e) => return Err(e.into()),
    };
    match seek(file, SeekFrom::Hole(start)) {
        Ok(end) if end > start => Ok((start, end.min(size))),
        // It was cut meanwhile.
        Ok(_) | Err(Errno::NXIO) => Ok((start, size)),
        Err(e) => Err(e.into()),
    }
}

/// Opens a regular file for reading.
pub(super) fn open(found: &Found) -> io::Result<OwnedFd> {
    // NONBLOCK: the type is known, but an open must not wait for a lease either.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(openat(CWD, magic(&found.fd), flags, Mode::empty())?)
}

/// Where a symbolic link leads.
pub(super) fn target(found: &Found) -> io::Result<Vec<u8>> {
    Ok(readlinkat(&found.fd, c"", Vec::new())?.into_bytes())
}

/// Whether the directory hides those of the layers below.
pub(super) fn is_opaque(found: &Found) -> io::Result<bool> {
    let mut value = [0; 2];
    match getxattr(magic(&found.fd), OPAQUE, &mut value) {
        Ok(length) => Ok(value[..length] == *b"y"),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The value of the attribute with the file's capabilities.
pub(super) fn capabilities(found: &Found) -> io::Result<Option<Vec<u8>>> {
    let mut value = [0; 64];
    match getxattr(magic(&found.fd), "security.capability", &mut value) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The object by its descriptor: a name of our own that leads to exactly this object, even to a link.
pub(super) fn magic(object: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", object.as_raw_fd())
}

fn is_portable(name: &[u8]) -> bool {
    let is = |prefix: &[u8]| name.starts_with(prefix);
    match name {
        b"security.capability" => true,
        _ if is(b"trusted.overlay.") || is(b"user.overlay.") => false,
        _ => is(b"user.") || is(b"trusted.") || is(b"system.posix_acl_"),
    }
}
