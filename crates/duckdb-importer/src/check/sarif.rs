//! The report of a check as SARIF 2.1.0 (OASIS).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::CheckReport;
use baft_dataset::rows::Issue;

pub(super) fn sarif(report: &CheckReport) -> String {
    let codes: BTreeSet<&str> = report.issues.iter().map(|issue| issue.code).collect();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| json!({ "id": code, "shortDescription": { "text": code.replace('-', " ") } }))
        .collect();
    let results: Vec<Value> = report.issues.iter().map(result).collect();
    let document = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "duckdb-importer", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

fn result(issue: &Issue) -> Value {
    json!({
        "ruleId": issue.code,
        "level": issue.severity.as_str(),
        "message": { "text": issue.message },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(&issue.path) },
                "region": { "startLine": issue.line.max(1), "startColumn": issue.col.max(1) },
            },
        }],
    })
}

/// A relative path as a URI reference.
fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_with_spaces_and_persian_letters_is_a_valid_uri() {
        assert_eq!(super::uri("data/a b.yaml"), "data/a%20b.yaml");
        assert_eq!(super::uri("data/آ.yaml"), "data/%D8%A2.yaml");
    }
}
