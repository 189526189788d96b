//! What the events and requests carry. Additive changes raise the minor version, breaking ones the major; every type
//! has a golden file in `goldens/` that a test still decodes. Unknown fields are ignored.
//!
//! Commit and blob names are plain hexadecimal strings here: the bus does not know git.

mod commit;
mod git;
mod import;
mod misc;
mod preflight;
mod session;

pub use commit::{
    CommitApplyRequest, CommitApplyResponse, CommitCheck, CommitConfirmRequest, CommitConfirmResponse,
    CommitPullResponse, CommitReleaseRequest, CommitReleaseResponse, CommitRunRequest, CommitRunResponse, CommitStatus,
    ConfirmWhat, Edit, Epoch, GitConflict, GitHeld, HeldFile, HeldReason, ParkedBranch, Person, Standing,
};
pub use git::{
    ChangeStatus, ChangedFile, FailureClass, GitCommitted, GitPushed, GitStatus, GitSyncFailed, GitSyncRequest,
    GitSyncResponse, GitSynced, Trigger, cap_changes, cap_paths,
};
pub use import::{
    Counts, EntityChanged, EntityOp, Generation, ImportPublished, ImportQuarantined, ImportRunRequest,
    ImportRunResponse, ImportStatus, QuarantinedFile,
};
pub use misc::{DaemonStarted, DaemonStopping, Empty};
pub use preflight::{
    CheckReport, CheckStatus, PreflightChanged, PreflightReport, PreflightRunRequest, PreflightSummary, PreflightTool,
};
pub use session::{
    IfLive, Liveness, Pending, ServiceState, SessionChanged, SessionChecks, SessionClient, SessionEndRequest,
    SessionEndResponse, SessionEnded, SessionGetRequest, SessionGetResponse, SessionHeartbeatRequest,
    SessionHeartbeatResponse, SessionHistoryRequest, SessionHistoryResponse, SessionListRequest, SessionListResponse,
    SessionOrder, SessionRecord, SessionStartRequest, SessionStartResponse, SessionStarted, SessionState,
    SessionStatusRequest, SessionStatusResponse, SessionStep, SessionSyncCheckRequest, SessionSyncCheckResponse,
    SessionSyncChecked, SessionSyncRequest, SessionSyncResponse, SessionTransition, StepState, StoredError,
    StoredSession, Task, TaskKind, Transcript,
};
