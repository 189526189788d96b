//! The kernel's list of what is mapped where (`/proc/self/smaps`).

use std::ffi::OsStr;
use std::ops::Range;

/// Libraries that a program is linked with: they are there before it begins and as long as it lives.
const LINKED: [&str; 5] = ["libc.so.", "libm.so.", "libgcc_s.so.", "libz.so.", "ld-linux-"];

/// Where a program's file or a library it is linked with is mapped just as it is: private, not writable, and no page was ever written to.
pub(crate) fn unchanged(smaps: &str, file: &OsStr) -> Vec<Range<usize>> {
    let Some(file) = file.to_str() else { return Vec::new() };
    let mut found = Vec::new();
    let mut at = None;
    for line in smaps.lines() {
        if let Some(range) = head(line, file) {
            at = range;
        } else if let Some(pages) = line.strip_prefix("Anonymous:")
            && let Some(range) = at.take()
            && pages.trim() == "0 kB"
        {
            found.push(range);
        }
    }
    found
}

/// Nothing for a line that begins no mapping; no range for a mapping of something else.
#[allow(clippy::option_option)]
fn head(line: &str, file: &str) -> Option<Option<Range<usize>>> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let (mode, rest) = rest.split_once(' ')?;
    // Offset, device and inode; the name may have spaces.
    let name = rest.splitn(4, ' ').nth(3).unwrap_or_default().trim_start();
    let library = name.rsplit_once('/').is_some_and(|(_, name)| LINKED.iter().any(|linked| name.starts_with(linked)));
    Some((matches!(mode, "r-xp" | "r--p") && (name == file || library)).then_some(start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
5500-5600 r--p 00000000 fe:00 42                         /opt/baft/git sync
Rss:                   4 kB
Anonymous:             0 kB
5600-5700 r-xp 00000000 fe:00 42                         /opt/baft/git sync
Anonymous:             0 kB
AnonHugePages:         0 kB
5700-5800 r--p 00000000 fe:00 42                         /opt/baft/git sync
Anonymous:             8 kB
5800-5900 rw-p 00000000 fe:00 42                         /opt/baft/git sync
Anonymous:             0 kB
5900-5a00 rw-p 00000000 00:00 0                          [heap]
Anonymous:             0 kB
7f00-8000 r-xp 00000000 fe:00 43                         /lib/libc.so.6
Anonymous:             0 kB
8000-8080 r-xp 00000000 fe:00 43                         /lib/libnss_dns.so.2
Anonymous:             0 kB
8000-8100 r--s 00000000 fe:00 44                         /opt/baft/git sync
Anonymous:             0 kB
VmFlags: rd mr
";

    #[test]
    fn only_what_is_just_as_in_the_file_is_found() {
        assert_eq!(unchanged(MAPS, OsStr::new("/opt/baft/git sync")), [0x5500..0x5600, 0x5600..0x5700, 0x7f00..0x8000]);
        assert_eq!(unchanged(MAPS, OsStr::new("/opt/baft/git")).len(), 1, "only the library");
        assert!(unchanged("", OsStr::new("")).is_empty());
    }

    #[test]
    fn a_program_works_on_after_its_pages_were_let_go() {
        let of = |name: &str| {
            let text = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned)).unwrap();
            line.trim_matches([':', '\t', ' ', 'k', 'B']).parse::<u64>().unwrap()
        };
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(!unchanged(&maps, program.as_os_str()).is_empty(), "{maps}");
        let before = of("RssFile");
        crate::rest();
        let after = of("RssFile");
        assert!(after < before, "{before} KiB of files before, {after} KiB after");
        let formatted = format!("{:?}", crate::Oid::of_blob(b"still there"));
        assert!(!formatted.is_empty());
    }
}
