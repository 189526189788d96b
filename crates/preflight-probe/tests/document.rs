//! docs/preflight.md explains every check, and nothing that is not one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use baft_preflight_probe::scene::Profile;
use baft_preflight_probe::table::{Severity, checks};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/preflight.md");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_check_has_a_section_that_says_what_it_is_and_how_to_fix_it() {
    let text = document();
    for check in checks() {
        let heading = format!("\n### {}\n", check.id);
        let (_, rest) = text.split_once(&heading).unwrap_or_else(|| panic!("no section about {}", check.id));
        let section = rest.split("\n##").next().unwrap();
        assert!(section.contains(&format!("**{}**", check.title)), "{}: its title is {}", check.id, check.title);
        assert!(section.contains("\nFix: "), "{} says no fix", check.id);
        for profile in [Profile::Local, Profile::Cluster] {
            let first = section.trim_start().lines().next().unwrap();
            assert_eq!(check.profiles.contains(&profile), first.contains(profile.name()), "{}: {first}", check.id);
        }
        let severity = if check.severity == Severity::Blocking { "blocking" } else { "advisory" };
        assert!(section.contains(severity), "{} is {severity}", check.id);
        assert_eq!(check.doc(), format!("docs/preflight.md#{}", check.id.to_lowercase()));
    }
    let known: Vec<String> = checks().iter().map(|check| check.id.to_string()).collect();
    for id in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(known.iter().any(|known| known == id), "{id} is explained, but there is no such check");
    }
}

#[test]
fn the_examples_of_checks_of_ones_own_are_understood() {
    let text = document();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let example = rest.split("\n```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checks.toml");
    std::fs::write(&path, example).unwrap();
    let custom = baft_preflight_probe::custom::read(&path).unwrap();
    assert_eq!(custom.len(), 6, "one of each kind");
}

#[test]
fn a_file_of_checks_with_a_mistake_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checks.toml");
    let good = "[[check]]\nname = \"a\"\ntitle = \"A\"\nhint = \"fix it\"\nkind = \"tcp\"\naddress = \"x:1\"\n";
    for (text, says) in [
        (good.replace("address", "adress"), "adress"),
        (good.replace("title", "tittle"), "missing field `title`"),
        (good.replace("tcp", "udp"), "udp"),
        (good.replace("\"fix it\"", "\" \""), "hint"),
        (good.replace("\"a\"", "\"A B\""), "no name"),
        (format!("{good}{good}"), "two checks"),
        (good.replace("kind", "timeout = \"soon\"\nkind"), "duration"),
        ("[[cheque]]\n".to_owned(), "cheque"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let error = baft_preflight_probe::custom::read(&path).unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("checks.toml"), "{text}: {error}");
    }
}
