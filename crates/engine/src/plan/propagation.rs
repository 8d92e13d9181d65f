//! Whether a place of the host can have the propagation that a bind asks for.

use gantry_model::error::Context;
use gantry_model::{Error, Result};
use gantry_runtime::spec::Propagation;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::path::Path;

/// Docker's check: what is to be seen by others, or by the container, must be on a mount that is shared that way. The
/// kernel would take the bind and let nothing through.
pub(super) fn check(source: &Path, wanted: Propagation) -> Result<()> {
    let (tags, kind): (&[&str], _) = match wanted {
        Propagation::Private | Propagation::RPrivate => return Ok(()),
        Propagation::Shared | Propagation::RShared => (&["shared:"], "shared mount"),
        Propagation::Slave | Propagation::RSlave => (&["shared:", "master:"], "shared or slave mount"),
    };
    let found = statx(CWD, source, AtFlags::empty(), StatxFlags::MNT_ID).map_err(std::io::Error::from);
    let id = found.context(source.display())?.stx_mnt_id;
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").context("mountinfo")?;
    let Some((place, options)) = find(&table, id) else { return Ok(()) };
    if options.split(' ').any(|option| tags.iter().any(|tag| option.starts_with(tag))) {
        return Ok(());
    }
    Err(Error::internal(format!("path {} is mounted on {place} but it is not a {kind}", source.display())))
}

/// Mount point and optional fields of the mount with this id.
fn find(table: &str, id: u64) -> Option<(&str, &str)> {
    table.lines().find_map(|line| {
        let (before, _) = line.split_once(" - ")?;
        let mut fields = before.splitn(7, ' ');
        if fields.next()?.parse::<u64>().ok()? != id {
            return None;
        }
        let place = fields.nth(3)?;
        fields.next()?;
        Some((place, fields.next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn optional_fields() {
        let table = "21 1 0:5 / / rw,relatime shared:7 master:2 - ext4 /dev/x rw\n22 21 0:6 / /a rw - tmpfs none rw\n";
        assert_eq!(find(table, 21), Some(("/", "shared:7 master:2")));
        assert_eq!(find(table, 22), Some(("/a", "")));
        assert_eq!(find(table, 23), None);
    }
}
