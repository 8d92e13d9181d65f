//! The overlay of an image's layers and a container's own.

use super::tree::explain;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A detached overlay mount. `lower` is topmost first; without `upper` and `work` it is read-only
/// (and a single lower directory is then not enough for the kernel, nor is an overlay needed).
pub(crate) fn mount(lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> io::Result<OwnedFd> {
    mount_labelled(lower, writable, None)
}

/// The same with an SELinux label for all files.
pub(crate) fn mount_labelled(
    lower: &[PathBuf],
    writable: Option<(&Path, &Path)>,
    label: Option<&str>,
) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configure = || -> io::Result<OwnedFd> {
        fsconfig_set_string(&context, "source", "overlay")?;
        if let Some(label) = label {
            fsconfig_set_string(&context, "context", label)?;
        }
        let _open_layers = set_lower(&context, lower)?;
        if let Some((upper, work)) = writable {
            fsconfig_set_string(&context, "upperdir", upper)?;
            fsconfig_set_string(&context, "workdir", work)?;
            // The upper directory must say by itself what was changed, whatever this host's default is. A kernel that
            // does not know the word does not do it either.
            for feature in ["redirect_dir", "metacopy"] {
                let _ = fsconfig_set_string(&context, feature, "off");
            }
        } else {
            fsconfig_set_flag(&context, "ro")?;
        }
        fsconfig_create(&context)?;
        Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
    };
    configure().map_err(|e| explain(&context, e))
}

/// Bytes of a value that fsconfig(2) takes, without the final zero.
const VALUE_MAX: usize = 255;

/// Since 6.5 layers are appended one at a time, of any number and with any name. What is returned must live
/// until the file system is created.
fn set_lower(context: &OwnedFd, lower: &[PathBuf]) -> io::Result<Vec<OwnedFd>> {
    for (n, dir) in lower.iter().enumerate() {
        match fsconfig_set_string(context, "lowerdir+", dir) {
            Err(rustix::io::Errno::INVAL) if n == 0 => return set_lower_at_once(context, lower),
            other => other?,
        }
    }
    Ok(Vec::new())
}

/// Older kernels take one string, in which `:` and `\` need escapes. Where the names are too long for it the
/// layers go by descriptor, which is enough for about fifteen of them.
fn set_lower_at_once(context: &OwnedFd, lower: &[PathBuf]) -> io::Result<Vec<OwnedFd>> {
    let text = joined(lower);
    if text.len() <= VALUE_MAX {
        fsconfig_set_string(context, "lowerdir", text)?;
        return Ok(Vec::new());
    }
    let open = |dir: &PathBuf| rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let dirs: Vec<OwnedFd> = lower.iter().map(open).collect::<Result<_, _>>()?;
    let short: Vec<PathBuf> = dirs.iter().map(|dir| format!("/proc/self/fd/{}", dir.as_raw_fd()).into()).collect();
    let text = joined(&short);
    if text.len() > VALUE_MAX {
        let message = format!("{} layers are too many for a kernel older than 6.5", lower.len());
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    fsconfig_set_string(context, "lowerdir", text)?;
    Ok(dirs)
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
    fn the_old_form_takes_more_layers_than_their_names_would_fit() {
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<PathBuf> = (0..14).map(|n| dir.path().join(format!("{n:0>64}"))).collect();
        for (n, layer) in lower.iter().enumerate() {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join(format!("from-{n}")), "").unwrap();
        }
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        let open_layers = set_lower_at_once(&context, &lower).unwrap();
        fsconfig_set_flag(&context, "ro").unwrap();
        fsconfig_create(&context).unwrap();
        drop(open_layers);
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
        for n in 0..14 {
            assert!(rustix::fs::statat(&mount, format!("from-{n}"), rustix::fs::AtFlags::empty()).is_ok(), "{n}");
        }
        let too_many: Vec<PathBuf> = std::iter::repeat_n(lower[0].clone(), 30).collect();
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        assert!(set_lower_at_once(&context, &too_many).unwrap_err().to_string().contains("older than 6.5"));
    }

    /// Docker's limit was 128; the kernel's is 500, since layers can be appended one by one.
    #[test]
    fn hundreds_of_layers() {
        let dir = tempfile::tempdir().unwrap();
        let lower: Vec<PathBuf> = (0..400).map(|n| dir.path().join(format!("{n:0>64}"))).collect();
        for (n, layer) in lower.iter().enumerate() {
            std::fs::create_dir(layer).unwrap();
            std::fs::write(layer.join(format!("from-{n}")), "").unwrap();
        }
        match mount(&lower, None) {
            Ok(mount) => {
                for n in 0..400 {
                    assert!(
                        rustix::fs::statat(&mount, format!("from-{n}"), rustix::fs::AtFlags::empty()).is_ok(),
                        "{n}"
                    );
                }
            }
            Err(e) => assert!(e.to_string().contains("older than 6.5"), "{e}"),
        }
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
