//! The memory of the running program's own code.

use std::fs;
use std::io;

/// Unmaps the code that was used so far; what is used again comes back from the page cache, a fault for each 64 KiB.
///
/// The kernel maps whatever lies around code that runs, so that a program of many parts that has only started has most
/// of itself mapped, and keeps that as long as nobody needs the memory.
pub fn forget_code() -> io::Result<()> {
    for (start, length) in code(&fs::read_to_string("/proc/self/maps")?) {
        // SAFETY: a private mapping of a file that may not be written to has nothing but the file's bytes in it, and
        // these are there again at the next access.
        let result = unsafe { libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Start and length of what is executable, belongs to a file, and cannot have been written to.
fn code(maps: &str) -> Vec<(usize, usize)> {
    let one = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (range, rights, inode) = (fields.next()?, fields.next()?, fields.nth(2)?);
        let (start, end) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        (rights == "r-xp" && inode != "0").then(|| (start, end.saturating_sub(start)))
    };
    maps.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::{code, forget_code};

    #[test]
    fn the_code_of_files_alone() {
        let maps = "00400000-00401000 r--p 00000000 fe:00 42 /bin/x\n00401000-01612000 r-xp 00001000 fe:00 42 /bin/x y\n\
                    01b7c000-01b91000 rw-p 0177c000 fe:00 42 /bin/x\n7f00-8f00 rwxp 00000000 fe:00 7 /lib/x\n\
                    7ffd0000-7ffd2000 r-xp 00000000 00:00 0 [vdso]\nnonsense\n";
        assert_eq!(code(maps), [(0x0040_1000, 0x0121_1000)]);
        assert!(!code(&std::fs::read_to_string("/proc/self/maps").unwrap()).is_empty());
        forget_code().unwrap();
        assert!(!format!("{:?}", std::env::args()).is_empty());
    }
}
