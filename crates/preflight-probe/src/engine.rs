//! Running the checks: each as soon as what it needs is known, a few at a time, none longer than it may.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use baft_bus::payload::{CheckReport, CheckStatus, PreflightReport, PreflightSummary, PreflightTool};
use baft_kit::backoff::Backoff;
use baft_kit::time::now_rfc3339;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::custom;
use crate::finding::Finding;
use crate::run::Run;
use crate::scene::{Profile, Scene};
use crate::table::{self, Check, Severity};

/// What reports call themselves.
pub const SCHEMA: &str = "baft.preflight/1";
/// More at once would falsify each other's times.
const AT_ONCE: usize = 4;

/// What is to be checked, and how long it may take.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which checks are meant; the scene's when nothing is said.
    pub profile: Option<Profile>,
    /// Only these and those they need; all when empty.
    pub only: Vec<String>,
    /// How long one round of checks may take.
    pub deadline: Duration,
    /// How long to try again what is not well.
    pub wait: Duration,
    /// What has to be tried again.
    pub good: Good,
}

/// What counts as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Good {
    /// Warnings do.
    #[default]
    WithWarnings,
    /// Only passing does.
    Strictly,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            profile: None,
            only: Vec::new(),
            deadline: Duration::from_secs(40),
            wait: Duration::ZERO,
            good: Good::default(),
        }
    }
}

/// An order names a check that is not there.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no check `{id}` in the profile {profile}: {known}")]
pub struct NoSuchCheck {
    id: String,
    profile: &'static str,
    known: String,
}

/// Checks everything once, and what is not well again until it is or the time to wait is over.
///
/// # Errors
/// The order names a check that is not there.
pub async fn run(scene: &Arc<Scene>, order: &Order) -> Result<PreflightReport, NoSuchCheck> {
    run_and_tell(scene, order, |_| {}).await
}

/// The same, and tells every check in the order of the report, as soon as it and those before it are settled.
///
/// # Errors
/// As [`run`].
pub async fn run_and_tell(
    scene: &Arc<Scene>,
    order: &Order,
    mut tell: impl FnMut(&CheckReport),
) -> Result<PreflightReport, NoSuchCheck> {
    let profile = order.profile.unwrap_or(scene.profile);
    let table = select(scene, profile, &order.only)?;
    let (began, started_at) = (Instant::now(), now_rfc3339());
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(3));
    let mut known = BTreeMap::new();
    let mut told = 0;
    loop {
        let last_round = order.wait.is_zero();
        round(scene, profile, &table, order.deadline, &mut known, |known| {
            // What will be tried again is not settled.
            let settled = |report: &CheckReport| last_round || is_well(report, order.good);
            while let Some(report) = table.get(told).and_then(|check| known.get(&*check.id)).filter(|one| settled(one))
            {
                tell(report);
                told += 1;
            }
        })
        .await;
        let left = order.wait.saturating_sub(began.elapsed());
        let done = known.values().all(|report| is_well(report, order.good));
        if done || left.is_zero() {
            break;
        }
        tokio::time::sleep(backoff.next_delay().min(left)).await;
    }
    for report in table[told..].iter().filter_map(|check| known.get(&*check.id)) {
        tell(report);
    }
    let checks: Vec<CheckReport> = table.iter().filter_map(|check| known.remove(&*check.id)).collect();
    let build = crate::BUILD;
    Ok(PreflightReport {
        schema: SCHEMA.to_owned(),
        run_id: ulid::Ulid::new().to_string(),
        profile: profile.name().to_owned(),
        tool: PreflightTool {
            name: build.name.to_owned(),
            version: build.version.to_owned(),
            revision: build.revision.to_owned(),
        },
        started_at,
        duration_ms: millis(began.elapsed()),
        summary: summary(&checks),
        checks,
    })
}

/// Counts.
#[must_use]
pub fn summary(checks: &[CheckReport]) -> PreflightSummary {
    let mut sum = PreflightSummary { total: u32::try_from(checks.len()).unwrap_or(u32::MAX), ..Default::default() };
    for check in checks {
        *match check.status {
            CheckStatus::Pass => &mut sum.passed,
            CheckStatus::Warn => &mut sum.warnings,
            CheckStatus::Fail => &mut sum.failed,
            CheckStatus::Skip => &mut sum.skipped,
            CheckStatus::Unknown | CheckStatus::Error => &mut sum.undecided,
        } += 1;
    }
    sum
}

/// The checks of a profile in the order of reports: all, or those named and those they need.
fn select(scene: &Scene, profile: Profile, only: &[String]) -> Result<Vec<Check>, NoSuchCheck> {
    let mut table: Vec<Check> = table::checks().into_iter().filter(|check| check.profiles.contains(&profile)).collect();
    table.extend(scene.custom.iter().map(custom::check));
    if only.is_empty() {
        return Ok(table);
    }
    let mut wanted: Vec<&str> = Vec::new();
    for id in only {
        if !table.iter().any(|check| check.id == *id) {
            let known = table.iter().map(|check| &*check.id).collect::<Vec<_>>().join(", ");
            return Err(NoSuchCheck { id: id.clone(), profile: profile.name(), known });
        }
        wanted.push(id);
    }
    let mut keep = vec![false; table.len()];
    while let Some(id) = wanted.pop() {
        if let Some(place) = table.iter().position(|check| check.id == id) {
            keep[place] = true;
            wanted.extend(table[place].needs);
        }
    }
    let mut keep = keep.into_iter();
    table.retain(|_| keep.next().unwrap_or_default());
    Ok(table)
}

fn is_well(report: &CheckReport, good: Good) -> bool {
    match report.status {
        CheckStatus::Pass => true,
        CheckStatus::Warn => good == Good::WithWarnings,
        // What does not apply now will not apply in a minute.
        CheckStatus::Skip => report.because.is_none(),
        CheckStatus::Fail | CheckStatus::Unknown | CheckStatus::Error => false,
    }
}

/// What carries on: a need that warns is no obstacle.
fn stands(status: CheckStatus) -> bool {
    matches!(status, CheckStatus::Pass | CheckStatus::Warn)
}

/// Checks once what is not known to be well.
async fn round(
    scene: &Arc<Scene>,
    profile: Profile,
    table: &[Check],
    deadline: Duration,
    known: &mut BTreeMap<String, CheckReport>,
    mut learnt: impl FnMut(&BTreeMap<String, CheckReport>),
) {
    let until = Instant::now() + deadline;
    let run = Arc::new(Run::new(scene.clone(), profile));
    let attempts: BTreeMap<String, u32> = known.values().map(|report| (report.id.clone(), report.attempts)).collect();
    known.retain(|_, report| is_well(report, Good::WithWarnings) && report.status != CheckStatus::Warn);
    let mut waiting: Vec<&Check> = table.iter().filter(|check| !known.contains_key(&*check.id)).collect();
    let mut under_way: JoinSet<(String, Look)> = JoinSet::new();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        start_what_can(&mut waiting, &mut under_way, table, known, &run, &slots);
        learnt(known);
        if under_way.is_empty() {
            break;
        }
        let Ok(Some(ended)) = tokio::time::timeout_at(until.into(), under_way.join_next()).await else { break };
        // A panic is caught inside, and nobody aborts.
        let Ok((id, look)) = ended else { continue };
        if let Some(check) = table.iter().find(|check| check.id == id) {
            let attempt = attempts.get(&id).copied().unwrap_or_default() + 1;
            known.insert(id, report(check, look, attempt));
        }
    }
    under_way.abort_all();
    for check in table.iter().filter(|check| !known.contains_key(&*check.id)).collect::<Vec<_>>() {
        let late = Finding::unknown(
            format!("{}: not finished within {} s", check.title, deadline.as_secs()),
            "run it again; `--timeout` gives it more time",
        );
        let attempt = attempts.get(&*check.id).copied().unwrap_or_default() + 1;
        let look = Look { finding: late, started_at: now_rfc3339(), took: deadline };
        known.insert(check.id.to_string(), report(check, look, attempt));
    }
    run.finish().await;
}

struct Look {
    finding: Finding,
    started_at: String,
    took: Duration,
}

/// Starts every check whose needs are known to stand, and settles those with one that does not.
fn start_what_can(
    waiting: &mut Vec<&Check>,
    under_way: &mut JoinSet<(String, Look)>,
    table: &[Check],
    known: &mut BTreeMap<String, CheckReport>,
    run: &Arc<Run>,
    slots: &Arc<Semaphore>,
) {
    let here = |id: &str| table.iter().any(|check| check.id == id);
    waiting.retain(|check| {
        let mut needs = check.needs.iter().filter(|need| here(need));
        let fallen = needs.clone().find_map(|need| known.get(*need).filter(|report| !stands(report.status)));
        if let Some(root) = fallen {
            // What does not apply takes with it what builds on it; what failed is named once, at the root.
            let finding = match (&root.because, root.status) {
                (None, CheckStatus::Skip) => {
                    Finding::skip(format!("{}: does not apply without {}", check.title, root.id))
                }
                (because, _) => {
                    let root = because.as_deref().unwrap_or(&root.id);
                    Finding::skip_because(root, format!("{}: not checked, because {root} did not pass", check.title))
                }
            };
            let look = Look { finding, started_at: now_rfc3339(), took: Duration::ZERO };
            known.insert(check.id.to_string(), report(check, look, 0));
            return false;
        }
        if needs.any(|need| !known.contains_key(*need)) {
            return true;
        }
        let (id, title, deadline) = (check.id.to_string(), check.title.to_string(), check.deadline);
        let (look, run, slots) = (check.look.clone(), run.clone(), slots.clone());
        under_way.spawn(async move {
            let _slot = slots.acquire().await;
            let (began, started_at) = (Instant::now(), now_rfc3339());
            // In a task of its own, so that a panic is a result like any other.
            let mut work = tokio::spawn(look(run));
            let finding = match tokio::time::timeout(deadline, &mut work).await {
                Ok(Ok(finding)) => finding,
                Ok(Err(error)) => Finding::error(format!("{title}: the check broke: {error}")),
                Err(_) => {
                    work.abort();
                    Finding::unknown(
                        format!("{title}: no answer within {} s", deadline.as_secs()),
                        "something it asks does not answer; look at what it depends on, then run it again",
                    )
                }
            };
            (id, Look { finding, started_at, took: began.elapsed() })
        });
        false
    });
}

fn report(check: &Check, look: Look, attempts: u32) -> CheckReport {
    let Finding { mut status, message, hint, because, evidence } = look.finding;
    if check.severity == Severity::Advisory && status == CheckStatus::Fail {
        status = CheckStatus::Warn;
    }
    CheckReport {
        id: check.id.to_string(),
        category: check.category.to_string(),
        title: check.title.to_string(),
        status,
        blocking: check.severity == Severity::Blocking,
        message,
        because,
        hint,
        doc: check.doc(),
        evidence,
        started_at: look.started_at,
        duration_ms: millis(look.took),
        attempts,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
