//! What a registry is told: how patient it is, and what it may do.

use std::path::PathBuf;
use std::time::Duration;

use baft_bus::payload::Liveness;

use crate::life::Quiet;

/// After how long silence means what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Then it is suspect.
    pub suspect: Duration,
    /// Then it is lost.
    pub lost: Duration,
}

/// How patient a registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// With people and chat models, who are idle for hours.
    pub activity: Limits,
    /// With programs that beat.
    pub heartbeat: Limits,
    /// After so long a lost session is over.
    pub reap: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            activity: Limits { suspect: minutes(30), lost: minutes(8 * 60) },
            heartbeat: Limits { suspect: Duration::from_secs(90), lost: minutes(10) },
            reap: minutes(7 * 24 * 60),
        }
    }
}

impl Patience {
    fn limits(&self, liveness: Liveness) -> Option<&Limits> {
        match liveness {
            Liveness::Activity | Liveness::Unknown => Some(&self.activity),
            Liveness::Heartbeat => Some(&self.heartbeat),
            Liveness::Manual => None,
        }
    }

    /// What silence of this length means.
    #[must_use]
    pub fn judge(&self, liveness: Liveness, idle: Duration) -> Option<Quiet> {
        let limits = self.limits(liveness)?;
        match idle {
            idle if idle >= self.reap.max(limits.lost) => Some(Quiet::Reap),
            idle if idle >= limits.lost => Some(Quiet::Lost),
            idle if idle >= limits.suspect => Some(Quiet::Suspect),
            _ => None,
        }
    }

    /// Beats are written down this often at most: often enough that other registries never take a session that beats
    /// for a silent one.
    #[must_use]
    pub fn write_every(&self, liveness: Liveness) -> Duration {
        self.limits(liveness).unwrap_or(&self.activity).suspect / 3
    }

    /// How often a holder should beat.
    #[must_use]
    pub fn beat_every(&self, liveness: Liveness) -> Duration {
        self.limits(liveness).unwrap_or(&self.activity).suspect / 3
    }

    /// How often to look who is silent.
    #[must_use]
    pub fn sweep_every(&self) -> Duration {
        let shortest = self.activity.suspect.min(self.heartbeat.suspect);
        (shortest / 10).clamp(Duration::from_millis(50), Duration::from_secs(5))
    }
}

/// What a registry is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How patient it is.
    pub patience: Patience,
    /// The commit-agent of sessions that name none.
    pub agent: Option<String>,
    /// How long sessions that are over stay in the bucket.
    pub keep_ended: Duration,
    /// How often clones with live sessions are compared with their remote; zero for never.
    pub sync_check: Duration,
    /// A sequence whose registry shows no sign of life for so long is continued by another.
    pub adopt_after: Duration,
    /// Where live sessions are mirrored as files.
    pub markers: Option<PathBuf>,
    /// Whether changing requests must name their principal.
    pub require_principal: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            patience: Patience::default(),
            agent: None,
            keep_ended: Duration::from_secs(24 * 3600),
            sync_check: Duration::from_secs(15 * 60),
            adopt_after: Duration::from_secs(20),
            markers: None,
            require_principal: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_means_what_the_liveness_says() {
        let patience = Patience::default();
        let judge = |liveness, seconds| patience.judge(liveness, Duration::from_secs(seconds));
        assert_eq!(judge(Liveness::Heartbeat, 89), None);
        assert_eq!(judge(Liveness::Heartbeat, 90), Some(Quiet::Suspect));
        assert_eq!(judge(Liveness::Activity, 90), None);
        assert_eq!(judge(Liveness::Activity, 30 * 60), Some(Quiet::Suspect));
        assert_eq!(judge(Liveness::Unknown, 8 * 3600), Some(Quiet::Lost));
        assert_eq!(judge(Liveness::Activity, 7 * 24 * 3600), Some(Quiet::Reap));
        assert_eq!(judge(Liveness::Manual, u64::from(u32::MAX)), None);
    }

    #[test]
    fn beats_are_written_well_before_silence_would_mean_anything() {
        let patience = Patience::default();
        for liveness in [Liveness::Activity, Liveness::Heartbeat, Liveness::Manual] {
            assert!(
                patience.write_every(liveness) * 2 < patience.limits(liveness).unwrap_or(&patience.activity).suspect
            );
        }
    }
}
