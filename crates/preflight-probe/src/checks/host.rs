//! Disks and the clock.

use std::path::PathBuf;
use std::sync::Arc;

use crate::finding::Finding;
use crate::run::Run;
use crate::words::size;

/// A clock further off than this confuses whoever reads two logs side by side.
const CLOCK_LIMIT_MS: i64 = 2000;

pub(crate) async fn disk(run: Arc<Run>) -> Finding {
    let scene = &run.scene;
    let mut worst: Option<(u64, u64, PathBuf)> = None;
    let paths: Vec<PathBuf> = scene.disks.iter().filter(|path| path.exists()).cloned().collect();
    if paths.is_empty() {
        return Finding::skip("Disks: no folder of this fleet is mounted here");
    }
    for path in paths {
        let stat = match rustix::fs::statvfs(&path) {
            Ok(stat) => stat,
            Err(error) => {
                return Finding::unknown(
                    format!("Disks: {} cannot be looked at: {error}", path.display()),
                    "check that the volume is mounted and readable",
                );
            }
        };
        let (free, total) = (stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize);
        let percent = (free * 100).checked_div(total).unwrap_or(100);
        if worst.as_ref().is_none_or(|(least, ..)| percent < *least) {
            worst = Some((percent, free, path));
        }
    }
    let Some((percent, free, path)) = worst else { return Finding::skip("Disks: nothing to look at") };
    let (low, full) = (u64::from(scene.disk_percent.0), u64::from(scene.disk_percent.1));
    let text = format!("{} has {} free ({percent} %)", path.display(), size(free));
    let hint = format!(
        "free space or enlarge the volume of {}; du -xsh {}/* shows what takes it",
        path.display(),
        path.display()
    );
    let finding = match percent {
        percent if percent < full => Finding::fail(format!("Disk almost full: {text}"), hint),
        percent if percent < low => Finding::warn(format!("Disk space is low: {text}"), hint),
        _ => Finding::pass(format!("Disk space: {text}")),
    };
    finding.with("free_percent", percent).with("free_bytes", free)
}

pub(crate) async fn clock(run: Arc<Run>) -> Finding {
    let Some((offset, doubt)) = run.clock.get().copied() else {
        return Finding::unknown("Clock: there is nothing to compare it with", "see BAFT-N007");
    };
    judge(offset, doubt)
}

/// Judges how far apart two clocks are, known to within `doubt`.
fn judge(offset_ms: i64, doubt_ms: i64) -> Finding {
    let away = offset_ms.abs().saturating_sub(doubt_ms).max(0);
    let finding = if away <= CLOCK_LIMIT_MS {
        Finding::pass("Clock agrees with the NATS server's")
    } else {
        Finding::warn(
            format!("Clock differs from the NATS server's by {} s", offset_ms / 1000),
            "set both by NTP: timedatectl set-ntp true",
        )
    };
    finding.with("offset_ms", offset_ms).with("doubt_ms", doubt_ms)
}

#[cfg(test)]
mod tests {
    use baft_bus::payload::CheckStatus;

    use super::*;

    #[test]
    fn a_slow_answer_is_not_taken_for_a_wrong_clock() {
        assert_eq!(judge(2500, 900).status, CheckStatus::Pass);
        assert_eq!(judge(-7_200_000, 900).status, CheckStatus::Warn);
        assert_eq!(judge(7_200_000, 5).status, CheckStatus::Warn);
    }
}
