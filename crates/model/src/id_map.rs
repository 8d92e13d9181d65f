//! User and group ids of a user namespace, and what they are on the host.

use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// The id that stands for everything a namespace has no number for.
pub const OVERFLOW: u32 = 65534;

/// A range of ids, as a line of `/proc/PID/uid_map` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one inside.
    pub inside: u32,
    /// What it is on the host.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    fn map(from: u32, to: u32, count: u32, id: u32) -> Option<u32> {
        let offset = id.checked_sub(from).filter(|offset| *offset < count)?;
        to.checked_add(offset)
    }
}

/// A map of ids; ranges do not overlap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdMap(pub Vec<IdRange>);

impl IdMap {
    /// What an id of the namespace is on the host.
    pub fn to_host(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|r| IdRange::map(r.inside, r.outside, r.count, id))
    }

    /// What an id of the host is in the namespace.
    pub fn to_inside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|r| IdRange::map(r.outside, r.inside, r.count, id))
    }

    /// As `/proc/PID/uid_map` is written.
    pub fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, r| {
            let _ = writeln!(text, "{} {} {}", r.inside, r.outside, r.count);
            text
        })
    }
}

/// Both maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdMaps {
    /// User ids.
    pub uids: IdMap,
    /// Group ids.
    pub gids: IdMap,
}

impl IdMaps {
    /// User and group on the host of the namespace's root; `None` if it has no root.
    pub fn root(&self) -> Option<(u32, u32)> {
        self.uids.to_host(0).zip(self.gids.to_host(0))
    }

    /// What the namespace shows as the owner of a file of these ids.
    pub fn shown(&self, uid: u32, gid: u32) -> (u32, u32) {
        (self.uids.to_inside(uid).unwrap_or(OVERFLOW), self.gids.to_inside(gid).unwrap_or(OVERFLOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_both_ways() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let map = IdMap(vec![range(0, 100_000, 1000), range(1000, 500_000, 10)]);
        assert_eq!(map.to_host(0), Some(100_000));
        assert_eq!(map.to_host(999), Some(100_999));
        assert_eq!(map.to_host(1009), Some(500_009));
        assert_eq!(map.to_host(1010), None);
        assert_eq!(map.to_inside(500_000), Some(1000));
        assert_eq!(map.to_inside(0), None);
        assert_eq!(map.text(), "0 100000 1000\n1000 500000 10\n");
        let maps = IdMaps { uids: map, gids: IdMap(vec![range(0, 7, 1)]) };
        assert_eq!(maps.root(), Some((100_000, 7)));
        assert_eq!(maps.shown(100_005, 8), (5, OVERFLOW));
    }

    #[test]
    fn the_end_of_all_numbers() {
        let map = IdMap(vec![IdRange { inside: 0, outside: u32::MAX - 1, count: 10 }]);
        assert_eq!(map.to_host(1), Some(u32::MAX));
        assert_eq!(map.to_host(2), None);
    }
}
