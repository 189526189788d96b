//! `baft admin`: the streams and buckets a fleet needs, and the users of its NATS server.

use baft_bus::permissions::{Proof, User, authorization};
use baft_bus::topology::{self, Change, Drift};
use serde_json::json;

use crate::cli::{InitArgs, NatsUsersArgs};
use crate::failure::Failure;
use crate::output::{Out, print};
use crate::reach;
use crate::workspace::Workspace;

/// Creates what is missing and puts right what differs; with `--check` only says so.
///
/// # Errors
/// There is no connection, the server refuses, or `--check` found something.
pub async fn init(args: &InitArgs, workspace: &Workspace) -> Result<(), Failure> {
    let bus = reach::connect(&args.nats, workspace).await?;
    let result = if args.check {
        topology::verify(&bus).await.map(|drifts| (Vec::new(), drifts))
    } else {
        topology::ensure(&bus).await.map(|changes| (changes, Vec::new()))
    };
    reach::disconnect(bus).await;
    let (changes, drifts) = result?;
    let mut out = Out::new();
    if args.json {
        out.json(&json!({
            "changes": changes.iter().map(change_json).collect::<Vec<_>>(),
            "drift": drifts.iter().map(drift_json).collect::<Vec<_>>(),
        }))?;
    } else {
        for change in &changes {
            out.line(change_text(change))?;
        }
        for drift in &drifts {
            out.line(drift_text(drift))?;
        }
        if changes.is_empty() && drifts.is_empty() {
            out.line("all streams and buckets are as they should be")?;
        }
    }
    out.flush()?;
    if drifts.is_empty() {
        Ok(())
    } else {
        Err(Failure::new("some streams or buckets are not as they should be").hint("`baft admin init` puts them right"))
    }
}

/// One user for each daemon.
const DAEMONS: [&str; 7] = [
    "git-sync=git-sync",
    "commit-agent=commit-agent:main",
    "duckdb-importer=duckdb-importer",
    "preflight-probe=preflight-probe",
    "session-registry=session-registry",
    "mcp-gateway=mcp-gateway",
    "provisioner=provisioner",
];

/// Prints the users of a NATS server.
///
/// # Errors
/// A name or a role cannot be one, or the output is closed.
pub fn nats_users(args: &NatsUsersArgs) -> Result<(), Failure> {
    let asked: Vec<&str> = args.users.iter().map(String::as_str).collect();
    let asked = if asked.is_empty() { DAEMONS.to_vec() } else { asked };
    let users = asked.into_iter().map(nats_user).collect::<Result<Vec<_>, _>>()?;
    print(authorization(&args.nats_subject_prefix, &users).trim_end())
}

fn nats_user(text: &str) -> Result<(User, Proof), Failure> {
    let wrong = |why: String| Failure::usage(format!("{text}: {why}"));
    let (name, role) =
        text.split_once('=').ok_or_else(|| wrong("give the user and its role, such as ann=analyst".to_owned()))?;
    let role = role.parse().map_err(|error: baft_bus::permissions::BadRole| wrong(error.to_string()))?;
    let user = User::new(name, role).map_err(|error| wrong(error.to_string()))?;
    let variable = format!("BAFT_NATS_PASSWORD_{}", name.to_ascii_uppercase().replace('-', "_"));
    Ok((user, Proof::Variable(variable)))
}

fn change_text(change: &Change) -> String {
    match change {
        Change::Created { stream } => format!("created {stream}"),
        Change::Updated { stream, fields } => {
            let fields: Vec<String> =
                fields.iter().map(|drift| format!("{} {} → {}", drift.field, drift.found, drift.wanted)).collect();
            format!("changed {stream}: {}", fields.join(", "))
        }
    }
}

fn change_json(change: &Change) -> serde_json::Value {
    match change {
        Change::Created { stream } => json!({ "stream": stream, "change": "created" }),
        Change::Updated { stream, fields } => {
            json!({ "stream": stream, "change": "updated", "fields": fields.iter().map(drift_json).collect::<Vec<_>>() })
        }
    }
}

fn drift_text(drift: &Drift) -> String {
    if drift.field == "exists" {
        return format!("{} does not exist", drift.stream);
    }
    format!("{}: {} is {}, should be {}", drift.stream, drift.field, drift.found, drift.wanted)
}

fn drift_json(drift: &Drift) -> serde_json::Value {
    json!({ "stream": drift.stream, "field": drift.field, "wanted": drift.wanted, "found": drift.found })
}
