//! Exec instances by id and by container.
//!
//! Clients create execs as fast as they like and start some of them. What has ended is kept for five minutes for whoever
//! asks how, at most so many a container; what was never started goes with its container, and there can only be so
//! many of those, and so large.

use super::{Exec, ExecState};
use gantry_model::{Error, Id, Result};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Ended execs that are kept for `inspect`; with more, those of the container that ended first go.
const KEPT_PER_CONTAINER: usize = 256;
/// How long they are kept.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// Execs of a container that have not ended.
const MOST_PER_CONTAINER: usize = 16 * 1024;
/// Bytes of all requests that are kept.
const MOST_BYTES: usize = 256 << 20;

/// All exec instances; a handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Execs(Arc<Mutex<Index>>);

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<Id, Arc<Exec>>,
    by_container: HashMap<Id, OfContainer>,
    /// Bytes of the requests of all of them.
    bytes: usize,
    /// A sweep is coming.
    swept: bool,
}

/// A container's execs.
#[derive(Debug, Default)]
struct OfContainer {
    live: HashSet<Id>,
    /// In the order of their ends.
    ended: VecDeque<(Instant, Id)>,
}

impl Execs {
    /// Adds one.
    pub(crate) fn insert(&self, exec: Arc<Exec>) -> Result<()> {
        let mut index = self.lock();
        let bytes = exec.size();
        while index.bytes + bytes > MOST_BYTES && index.drop_oldest(exec.container) {}
        let of_container = index.by_container.entry(exec.container).or_default();
        if of_container.live.len() >= MOST_PER_CONTAINER {
            return Err(Error::conflict(format!(
                "Container {} has too many exec instances that have not ended",
                exec.container
            )));
        }
        of_container.live.insert(exec.id);
        if index.bytes + bytes > MOST_BYTES {
            index.forget_live(&exec);
            return Err(Error::conflict("too many exec instances have not ended"));
        }
        index.bytes += bytes;
        index.by_id.insert(exec.id, exec);
        Ok(())
    }

    /// Its process ended, or will never run. Counts once.
    pub(crate) fn end(&self, exec: &Exec, code: i64) {
        let mut index = self.lock();
        if !exec.ended(code) || !index.by_id.contains_key(&exec.id) {
            return;
        }
        let Some(of_container) = index.by_container.get_mut(&exec.container) else { return };
        of_container.live.remove(&exec.id);
        of_container.ended.push_back((Instant::now(), exec.id));
        if of_container.ended.len() > KEPT_PER_CONTAINER {
            index.drop_oldest(exec.container);
        }
        if !std::mem::replace(&mut index.swept, true) {
            drop(index);
            let execs = self.clone();
            // Outside a runtime (in tests) nothing lives long enough to be swept.
            if let Ok(handle) = tokio::runtime::Handle::try_current() {
                handle.spawn(async move { execs.sweep().await });
            }
        }
    }

    /// Forgets what has ended long ago, until there is nothing more to forget.
    async fn sweep(&self) {
        loop {
            tokio::time::sleep(KEPT_FOR).await;
            let mut index = self.lock();
            let limit = Instant::now() - KEPT_FOR;
            let containers: Vec<Id> = index.by_container.keys().copied().collect();
            for container in containers {
                while index.oldest(container).is_some_and(|ended| ended <= limit) {
                    index.drop_oldest(container);
                }
            }
            if index.by_container.values().all(|c| c.ended.is_empty()) {
                index.swept = false;
                return;
            }
        }
    }

    /// By full id or unique prefix.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Exec>> {
        let index = self.lock();
        if let Some(exec) = text.parse().ok().and_then(|id: Id| index.by_id.get(&id)) {
            return Ok(exec.clone());
        }
        let low = format!("{text:0<64}").parse().ok().filter(|_| !text.is_empty() && text.len() <= 64);
        let from = low.into_iter().flat_map(|low: Id| index.by_id.range(low..));
        let mut matches = from.take_while(|(id, _)| id.to_string().starts_with(text));
        match (matches.next(), matches.next()) {
            (Some((_, exec)), None) => Ok(exec.clone()),
            _ => Err(Error::not_found(format!("No such exec instance: {text}"))),
        }
    }

    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Exec>> {
        self.lock().by_id.get(id).cloned()
    }

    /// Forgets one that nobody will ask for.
    pub(crate) fn forget(&self, exec: &Exec) {
        let mut index = self.lock();
        index.remove(&exec.id);
        if let Some(of_container) = index.by_container.get_mut(&exec.container) {
            of_container.live.remove(&exec.id);
            of_container.ended.retain(|(_, id)| *id != exec.id);
        }
    }

    /// Ids of a container's execs that have not ended, for inspect.
    pub(crate) fn of_container(&self, container: Id) -> Vec<String> {
        let index = self.lock();
        index.by_container.get(&container).into_iter().flat_map(|c| &c.live).map(Id::to_string).collect()
    }

    /// The container's init process has ended, and with its pid namespace every exec.
    pub(crate) fn container_ended(&self, container: Id) {
        let killed = 137;
        for exec in self.live_of(container) {
            self.end(&exec, killed);
        }
    }

    fn live_of(&self, container: Id) -> Vec<Arc<Exec>> {
        let index = self.lock();
        let live = index.by_container.get(&container).into_iter().flat_map(|c| &c.live);
        live.filter_map(|id| index.by_id.get(id).cloned()).collect()
    }

    /// The container is gone.
    pub(crate) fn forget_container(&self, container: Id) {
        let mut index = self.lock();
        let OfContainer { live, ended } = index.by_container.remove(&container).unwrap_or_default();
        for id in live.into_iter().chain(ended.into_iter().map(|(_, id)| id)) {
            index.remove(&id);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn remove(&mut self, id: &Id) {
        if let Some(exec) = self.by_id.remove(id) {
            self.bytes -= exec.size();
        }
    }

    fn oldest(&self, container: Id) -> Option<Instant> {
        self.by_container.get(&container)?.ended.front().map(|(ended, _)| *ended)
    }

    /// Forgets the exec of a container that ended first; whether there was one.
    fn drop_oldest(&mut self, container: Id) -> bool {
        let oldest = self.by_container.get_mut(&container).and_then(|c| c.ended.pop_front());
        oldest.inspect(|(_, id)| self.remove(id)).is_some()
    }

    fn forget_live(&mut self, exec: &Exec) {
        if let Some(of_container) = self.by_container.get_mut(&exec.container) {
            of_container.live.remove(&exec.id);
        }
    }
}

impl Exec {
    /// About the bytes that its request takes.
    fn size(&self) -> usize {
        let lists = [&self.request.cmd, &self.request.env];
        let texts = lists.into_iter().flatten().flatten().map(|text| text.len() + size_of::<String>());
        size_of::<Self>() + texts.sum::<usize>() + self.request.user.len() + self.request.working_dir.len()
    }

    /// Whether it had not ended before.
    fn ended(&self, code: i64) -> bool {
        self.state.send_if_modified(|state| {
            let live = !matches!(state, ExecState::Ended { .. });
            if live {
                *state = ExecState::Ended { code };
            }
            live
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::DetachKeys;
    use gantry_api_types::ExecCreateRequest;

    fn exec(container: Id) -> Arc<Exec> {
        exec_of(container, ExecCreateRequest::default())
    }

    fn exec_of(container: Id, request: ExecCreateRequest) -> Arc<Exec> {
        Arc::new(Exec::new(container, request, DetachKeys::parse(None).unwrap()))
    }

    #[test]
    fn what_ended_last_is_kept_for_its_client() {
        let (execs, container) = (Execs::default(), Id::random());
        let mut ids = Vec::new();
        for _ in 0..2 * KEPT_PER_CONTAINER {
            let next = exec(container);
            ids.push(next.id);
            execs.insert(next.clone()).unwrap();
            execs.end(&next, 0);
            assert!(ids.iter().rev().take(KEPT_PER_CONTAINER).all(|id| execs.get(id).is_some()));
        }
        assert!(execs.get(&ids[0]).is_none());
        assert_eq!(execs.lock().by_id.len(), KEPT_PER_CONTAINER);
        execs.forget_container(container);
        let index = execs.lock();
        assert_eq!((index.by_id.len(), index.bytes), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_long_ago_is_forgotten() {
        let (execs, container) = (Execs::default(), Id::random());
        let (ended, created) = (exec(container), exec(container));
        execs.insert(ended.clone()).unwrap();
        execs.insert(created.clone()).unwrap();
        execs.end(&ended, 0);
        tokio::time::sleep(KEPT_FOR / 2).await;
        assert!(execs.get(&ended.id).is_some());
        tokio::time::sleep(KEPT_FOR).await;
        assert!(execs.get(&ended.id).is_none() && execs.get(&created.id).is_some());
        assert!(!execs.lock().swept);
    }

    #[test]
    fn what_is_never_started_is_bounded() {
        let (execs, container) = (Execs::default(), Id::random());
        for _ in 0..MOST_PER_CONTAINER {
            execs.insert(exec(container)).unwrap();
        }
        assert!(execs.insert(exec(container)).is_err());
        execs.container_ended(container);
        execs.insert(exec(container)).unwrap();
        let large = || {
            let env = vec!["x".repeat(MOST_BYTES / 3)];
            exec_of(Id::random(), ExecCreateRequest { env: Some(env), ..ExecCreateRequest::default() })
        };
        execs.insert(large()).unwrap();
        execs.insert(large()).unwrap();
        assert!(execs.insert(large()).is_err());
    }

    #[test]
    fn found_by_a_unique_prefix() {
        let execs = Execs::default();
        let one = exec(Id::random());
        execs.insert(one.clone()).unwrap();
        assert_eq!(execs.find(&one.id.to_string()[..12]).unwrap().id, one.id);
        for missing in ["", "zz", "0x", &"a".repeat(65)] {
            assert!(execs.find(missing).is_err(), "{missing}");
        }
    }

    #[test]
    fn a_process_that_ended_before_it_was_reported_to_run_has_ended() {
        let (execs, exec) = (Execs::default(), exec(Id::random()));
        execs.insert(exec.clone()).unwrap();
        exec.claim().unwrap();
        assert!(exec.claim().is_err());
        execs.end(&exec, 3);
        exec.running(1);
        execs.end(&exec, 4);
        assert!(matches!(*exec.state.borrow(), ExecState::Ended { code: 3 }));
    }
}
