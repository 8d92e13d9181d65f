//! The overlay of an image's layers and a container's own.

use super::tree::explain;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A detached overlay mount. `lower` is topmost first; without `upper` and `work` it is read-only
/// (and a single lower directory is then not enough for the kernel, nor is an overlay needed).
pub(crate) fn mount(lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configure = || {
        fsconfig_set_string(&context, "source", "overlay")?;
        set_lower(&context, lower)?;
        if let Some((upper, work)) = writable {
            fsconfig_set_string(&context, "upperdir", upper)?;
            fsconfig_set_string(&context, "workdir", work)?;
        } else {
            fsconfig_set_flag(&context, "ro")?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    configure().map_err(|e| explain(&context, e))
}

/// Since 6.5 layers are appended one at a time, of any number and with any name. Older kernels take
/// one string of at most 255 bytes here, in which `:` and `\` need escapes.
fn set_lower(context: &OwnedFd, lower: &[PathBuf]) -> rustix::io::Result<()> {
    for (n, dir) in lower.iter().enumerate() {
        match fsconfig_set_string(context, "lowerdir+", dir) {
            Err(rustix::io::Errno::INVAL) if n == 0 => return fsconfig_set_string(context, "lowerdir", joined(lower)),
            other => other?,
        }
    }
    Ok(())
}

fn joined(lower: &[PathBuf]) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut bytes = Vec::new();
    for (n, dir) in lower.iter().enumerate() {
        if n > 0 {
            bytes.push(b':');
        }
        for &byte in dir.as_os_str().as_bytes() {
            if matches!(byte, b':' | b'\\') {
                bytes.push(b'\\');
            }
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_form_escapes() {
        assert_eq!(joined(&["/a:b".into(), "/c\\d".into()]), OsString::from("/a\\:b:/c\\\\d"));
    }

    #[test]
    fn layers_are_stacked_topmost_first() {
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<PathBuf> = ["top", "bottom:x"].iter().map(|n| dir.path().join(n)).collect();
        for layer in &lower {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join("name"), layer.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        std::fs::write(lower[1].join("below"), "").unwrap();
        let mount = mount(&lower, None).unwrap();
        let open = |name: &str| rustix::fs::openat(&mount, name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        let name = std::io::read_to_string(std::fs::File::from(open("name").unwrap())).unwrap();
        assert_eq!(name, "top");
        assert!(open("below").is_ok());
    }
}
