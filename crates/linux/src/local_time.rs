//! The host's time zone.

use std::mem::MaybeUninit;

/// Seconds east of Greenwich at a time (seconds since the epoch), by the host's `TZ` or `/etc/localtime`.
pub fn offset(at: i64) -> i32 {
    let mut broken_down = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call; musl's localtime_r takes a lock around its zone data.
    let filled = unsafe { libc::localtime_r(&raw const at, broken_down.as_mut_ptr()) };
    if filled.is_null() {
        return 0;
    }
    // SAFETY: a result that is not null says that the structure was filled.
    unsafe { broken_down.assume_init() }.tm_gmtoff as i32
}

#[cfg(test)]
mod tests {
    #[test]
    fn zones_are_within_a_day() {
        assert!(super::offset(1_700_000_000).abs() < 86_400);
    }
}
