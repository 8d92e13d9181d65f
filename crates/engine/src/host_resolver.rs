//! The host's name servers change while containers run: a laptop moves, a lease ends.
//!
//! Every program replaces `/etc/resolv.conf` in its own way: in place, by renaming another file over it, by a link to a file
//! that is itself replaced. So what is watched is each directory on the way to the file, and the file; after every change
//! the way is looked at anew.

use crate::Engine;
use crate::plan::files::{self, HOST_RESOLV_CONF, RESOLVED};
use crate::readiness;
use futures_util::{StreamExt, stream};
use gantry_linux::inotify::{Events, Inotify, PLACE_CHANGES};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use tokio::io::unix::AsyncFd;

/// Links on the way to a file, as in the kernel.
const MAX_LINKS: usize = 40;
/// Containers that are told at a time.
const AT_A_TIME: usize = 16;

/// Lets tokio poll it.
struct Watches(Inotify);

impl AsRawFd for Watches {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Tells containers' name servers of the host's, for as long as there is an engine.
pub(crate) fn follow(engine: &Arc<Engine>) {
    let watches = Inotify::new().and_then(|inotify| readiness::watch(Watches(inotify)));
    match watches {
        Ok(watches) => {
            let mut watched = BTreeSet::new();
            watch(&watches.get_ref().0, &mut watched);
            let known = files::host_resolv_conf();
            tokio::spawn(pump(watches, watched, known, Arc::downgrade(engine)));
        }
        Err(e) => tracing::warn!("changes of the host's name servers are not noticed: {e}"),
    }
}

async fn pump(watches: AsyncFd<Watches>, mut watched: BTreeSet<i32>, mut known: String, engine: Weak<Engine>) {
    loop {
        let events = match drain(&watches).await {
            Ok(events) => events,
            Err(e) => return tracing::warn!("changes of the host's name servers are not noticed any more: {e}"),
        };
        // Before it is read, so that no change falls between.
        watch(&watches.get_ref().0, &mut watched);
        let text = files::host_resolv_conf();
        // Who has made a file or emptied it is about to write it, and closes it then.
        let half = text.trim().is_empty() && !events.contains(Events::CLOSE_WRITE);
        if half || text == known {
            continue;
        }
        known = text;
        let Some(engine) = engine.upgrade() else { return };
        tracing::info!("the host's name servers have changed");
        tell(&engine).await;
    }
}

/// What has happened since the last time; waits for something.
async fn drain(watches: &AsyncFd<Watches>) -> io::Result<Events> {
    let mut ready = watches.readable().await?;
    ready.clear_ready();
    let mut all = Events::empty();
    watches.get_ref().0.drain(|_, events| all |= events)?;
    Ok(all)
}

async fn tell(engine: &Arc<Engine>) {
    let running = engine.containers.all().into_iter().filter(|container| container.shim().is_some());
    let told = running.map(|container| async move {
        // Otherwise what a connect tells at the same time might be undone.
        let _verb = container.verbs.lock().await;
        if container.shim().is_some()
            && let Err(e) = engine.names_have_changed(&container).await
        {
            tracing::warn!("container {}: its name server: {e}", container.id);
        }
    });
    stream::iter(told).buffer_unordered(AT_A_TIME).collect::<()>().await;
}

/// Watches the way as it is now, and nothing else.
fn watch(inotify: &Inotify, watched: &mut BTreeSet<i32>) {
    let mut places = way(Path::new(HOST_RESOLV_CONF));
    places.extend(way(Path::new(RESOLVED)));
    // Those that are not there, or not any more, have an event in the directory above.
    let now: BTreeSet<_> = places.iter().filter_map(|place| inotify.add(place, PLACE_CHANGES).ok()).collect();
    for gone in watched.difference(&now) {
        // The kernel removes those of what was removed.
        let _ = inotify.remove(*gone);
    }
    *watched = now;
}

/// The directories on the way to a file, or the nearest to where they would be, and the file.
fn way(file: &Path) -> BTreeSet<PathBuf> {
    let mut places = BTreeSet::new();
    let mut at = file.to_owned();
    for _ in 0..MAX_LINKS {
        let Some(directory) = at.parent().map(Path::to_owned) else { break };
        places.extend(directory.ancestors().find(|ancestor| ancestor.is_dir()).map(Path::to_owned));
        let Ok(target) = fs::read_link(&at) else { break };
        at = directory.join(target);
    }
    places.insert(at);
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_way_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let ways = |name: &str| way(&at(name)).into_iter().collect::<Vec<_>>();
        assert_eq!(ways("a/b/file"), [dir.path().to_owned(), at("a/b/file")]);
        fs::create_dir_all(at("a/b")).unwrap();
        assert_eq!(ways("a/b/file"), [at("a/b"), at("a/b/file")]);
        fs::create_dir(at("etc")).unwrap();
        symlink("../a/b/file", at("etc/file")).unwrap();
        assert_eq!(ways("etc/file"), [at("etc"), at("etc/../a/b"), at("etc/../a/b/file")]);
        // A circle ends.
        symlink("file", at("a/b/file")).unwrap();
        assert!(ways("a/b/file").contains(&at("a/b")));
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let inotify = Inotify::new().unwrap();
        let mut watched = BTreeSet::new();
        let mut sees = |what: &str| {
            let mut count = 0;
            inotify.drain(|_, events| count += usize::from(!events.contains(Events::IGNORED))).unwrap();
            assert!(count > 0, "{what}");
            let places = way(&at("etc/file"));
            watched = places.iter().filter_map(|place| inotify.add(place, PLACE_CHANGES).ok()).collect::<BTreeSet<_>>();
        };
        fs::create_dir(at("etc")).unwrap();
        inotify.add(&at("etc"), PLACE_CHANGES).unwrap();
        fs::write(at("etc/file"), "1").unwrap();
        sees("a new file");
        fs::write(at("etc/file"), "2").unwrap();
        sees("in place");
        fs::write(at("other"), "3").unwrap();
        fs::rename(at("other"), at("etc/file")).unwrap();
        sees("renamed over it");
        fs::remove_file(at("etc/file")).unwrap();
        symlink("../run/file", at("etc/file")).unwrap();
        sees("a link");
        fs::create_dir(at("run")).unwrap();
        sees("the directory that the link leads to");
        fs::write(at("run/file"), "4").unwrap();
        sees("what the link leads to");
        fs::write(at("other"), "5").unwrap();
        fs::rename(at("other"), at("run/file")).unwrap();
        sees("a target that is replaced");
        fs::remove_dir_all(at("run")).unwrap();
        sees("all gone");
    }
}
