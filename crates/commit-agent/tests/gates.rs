//! The gates: what must not get out does not, and the daily work does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, missing_docs)]

use std::path::Path;

use baft_commit_agent::gates::{Policy, Reason, Verdict, check_file, check_size};
use baft_repo::RepoPath;

fn held(path: &str, text: &str, previous: Option<&str>) -> Option<(Reason, String)> {
    let path = RepoPath::new(path).unwrap();
    match check_file(&Policy::default(), &path, text.as_bytes(), previous.map(str::as_bytes)) {
        Verdict::Pass => None,
        Verdict::Hold(hold) => Some((hold.reason, hold.detail)),
    }
}

/// Put together at run time, so that no scanner takes this file for a leak.
fn secrets() -> Vec<(&'static str, String)> {
    let random = ["q7Zx9KpL2mVt4RwY8sBn", "3Hd6Jf1Gc5Ta0UeXoIiQ"].concat();
    let upper = "Q7ZX4KPL2MVT5RWY".repeat(4);
    vec![
        ("AWS", format!("AKIA{}", &upper[..16])),
        ("GitHub", format!("ghp_{}", &random[..36])),
        ("GitHub", format!("github_pat_{}_{}{}", &random[..22], random, &random[..19])),
        ("GitLab", format!("glpat-{}", &random[..20])),
        ("Slack", format!("xoxb-{}-{}", "2345678901", &random[..24])),
        ("webhook", format!("https://hooks.slack.com/services/T0{}/B0{}/{}", &upper[..8], &upper[..8], &random[..24])),
        ("Google", format!("AIza{}", &random[..35])),
        ("private key", format!("-----BEGIN OPENSSH {}-----\n{random}{random}\n-----END", "PRIVATE KEY")),
        ("private key", format!("  key: |\n    -----BEGIN {}-----\n    {random}{random}\n", "PRIVATE KEY")),
        ("private key", format!("{{\"k\": \"-----BEGIN RSA {}-----\\n{random}{random}\"}}", "PRIVATE KEY")),
        ("NATS", format!("SU{}", &upper[..56])),
        ("web token", format!("eyJ{}.eyJ{}.{}", &random[..20], &random[..30], random)),
        ("Anthropic", format!("sk-ant-api03-{random}")),
        ("OpenAI", format!("sk-proj-{random}")),
        ("Hugging", format!("hf_{}", &random[..34])),
        ("Stripe", format!("sk_live_{}", &random[..24])),
        ("address", format!("postgres://ali:{}@db.internal/itp", &random[..12])),
        ("password or key", format!("password: {}", "Tr0ub4dor&3")),
        ("password or key", format!("DB_PASSWORD='{}'", "hunter2-Hunter2!")),
        ("password or key", format!("api_key = \"{}\"", &random[..32])),
        ("password or key", format!("\"client_secret\": \"{random}\"")),
        ("password or key", format!("  token: {}", "3f2a9c8e1b7d6045f2e8a1c93b7d60ff")),
    ]
}

#[test]
fn a_planted_secret_is_held_with_its_line_and_is_in_no_message() {
    for (what, secret) in secrets() {
        let text = format!("entries:\n- id: G01-01\n  note: a\n# {secret}\n");
        let (reason, detail) = held("notes/x.txt", &text, None).unwrap_or_else(|| panic!("{what}: {secret} passes"));
        assert_eq!(reason, Reason::Secret, "{detail}");
        assert!(detail.contains("line ") && detail.contains(what), "{what}: {detail}");
        let mut pieces = secret.split(|c: char| !c.is_alphanumeric()).filter(|piece| piece.len() > 10);
        assert!(pieces.all(|piece| !detail.contains(piece)), "{detail}");
        // It does not matter what surrounds it.
        let binary = [&[0xFFu8, 0x00][..], text.as_bytes()].concat();
        let path = RepoPath::new("x.bin").unwrap();
        assert_ne!(check_file(&Policy::default(), &path, &binary, None), Verdict::Pass, "{what}");
    }
}

#[test]
fn the_line_is_that_of_the_first_secret() {
    let all = secrets();
    let text = format!("a: 1\nb: 2\nc: {}\nd: {}\n", all[0].1, all[1].1);
    assert!(held("x.txt", &text, None).unwrap().1.contains("line 3 "));
}

#[test]
fn a_secret_that_is_committed_already_is_not_held_again_and_another_one_is() {
    let all = secrets();
    let before = format!("a: {}\n", all[1].1);
    assert_eq!(held("x.txt", &format!("{before}b: 2\n"), Some(&before)), None);
    assert!(held("x.txt", &format!("{before}b: {}\n", all[0].1), Some(&before)).is_some());
}

#[test]
fn what_only_names_or_stands_for_a_secret_passes() {
    for line in [
        "password: changeme",
        "password: ${DB_PASSWORD}",
        "password: <your password>",
        "PASSWORD={{ .Values.password }}",
        "token: The token of the committee was withdrawn",
        "secret: classified",
        "secrets: [one, two]",
        "tokens: 4096",
        "token: /var/run/secrets/kubernetes.io/serviceaccount/token",
        "api_key: AKIAIOSFODNN7EXAMPLE",
        "password = os.environ[\"DB_PASSWORD\"]",
        "let token = std::env::var(\"GITHUB_TOKEN\")?;",
        "password_file: ./secrets/password",
        "url: https://user:password@example.com/",
        "url: https://example.com:8080/a@b",
        "token: G23-06, G27-01 and SV-03",
        "access_key: variables-2026-03-28-version-2.3",
        "-----BEGIN PUBLIC KEY-----",
        "The header is -----BEGIN PRIVATE KEY----- and so on, as everybody knows it.",
        "commit: 3f2a9c8e1b7d6045f2e8a1c93b7d60ff11223344",
        "sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "Ghalibaf's passport: 'withdrawn'",
    ] {
        assert_eq!(held("notes/x.txt", &format!("{line}\n"), None), None, "{line}");
    }
}

#[test]
fn a_word_on_the_line_lets_it_through() {
    let (_, secret) = &secrets()[1];
    assert_eq!(held("x.txt", &format!("a: {secret} # gitleaks:allow\n"), None), None);
}

#[test]
fn files_that_are_secrets_by_name_are_held_when_they_are_new() {
    for path in ["id_ed25519", "keys/store.p12", ".env", "home/.netrc"] {
        assert_eq!(held(path, "x", None).unwrap().0, Reason::Secret, "{path}");
        assert_eq!(held(path, "x", Some("y")), None, "{path}");
    }
    assert_eq!(held("id_ed25519.pub", "ssh-ed25519 AAAA", None), None);
}

#[test]
fn junk_is_held_unless_it_is_tracked() {
    assert_eq!(held("data/.gaps.yaml.swp", "x", None).unwrap().0, Reason::Junk);
    assert_eq!(held("data/old.bak", "x", Some("y")), None);
}

#[test]
fn a_file_over_the_limit_is_held_and_one_at_it_is_not() {
    let policy = Policy { max_file_bytes: 1 << 20, ..Policy::default() };
    assert_eq!(check_size(&policy, 1 << 20), Verdict::Pass);
    let Verdict::Hold(hold) = check_size(&policy, (1 << 20) + (1 << 19)) else { panic!() };
    assert_eq!(hold.reason, Reason::Size);
    assert!(hold.detail.starts_with("1.5 MiB is more than the 1.0 MiB allowed"), "{}", hold.detail);
}

#[test]
fn a_file_that_was_saved_half_is_held_until_it_is_whole() {
    let good = "entries:\n- id: G1-1\n  status: OPEN\n";
    let long = format!("{good}  note: {}\n", "x".repeat(5_000));
    let config = "version = 1\n[[dataset]]\nname = \"a\"\nfiles = [\"a.yaml\"]\n";
    for (name, path, text, previous, line) in [
        ("broken data", "data/gaps.yaml", "entries:\n- id: [", Some(good), "line 2"),
        ("broken new data", "data/gaps.yaml", "entries:\n- id: [", None, "line 2"),
        ("data without its list", "data/gaps.yaml", "version: 1\n", Some(good), "/entries"),
        ("emptied", "README.md", "", Some(good), "empty"),
        ("shrunk", "README.md", good, Some(long.as_str()), "90 %"),
        ("other YAML that parsed", "ci.yml", "a: [", Some("a: []"), "line 1"),
        ("new YAML", ".github/ci.yml", "on: push\njobs: {a: [", None, "line 2"),
        ("new JSON", "x.json", "{\n\"a\": ", None, "line 2"),
        ("the second document", "k8s.yaml", "a: 1\n---\nb: 2\nc: [\n", None, "line 5"),
        ("other JSON that parsed", "x.json", "{\"a\": ", Some("{}"), "line 1"),
        ("the declaration", "baft-import.toml", "version = \n", Some(config), "line 1"),
    ] {
        let (reason, detail) = held(path, text, previous).unwrap_or_else(|| panic!("{name} passes"));
        assert_eq!(reason, Reason::Unparsable, "{name}: {detail}");
        assert!(detail.contains(line), "{name}: {detail}");
        assert_eq!(detail.lines().count(), 1);
    }
    for (name, path, text, previous) in [
        ("new and empty", ".gitkeep", "", None),
        ("tags of another program", "stack.yaml", "a: !Ref b\nc: !Sub [x, {y: !GetAtt z}]\n", None),
        ("new documents", "k8s.yaml", "---\na: 1\n---\nb: 2\n...\n---\n# none\n", None),
        ("JSON with comments", "tsconfig.json", "{\n  // why\n  \"a\": 1,\n}\n", None),
        ("an empty JSON file", "x.json", "", None),
        ("a template", "chart/templates/x.yaml", "a: {{ .Values.x }}\n", None),
        ("several documents", "k8s.yaml", "a: 1\n---\nb: 2\n", Some("a: 1\n---\nb: [\n")),
        ("a small file that shrinks", "data/gaps.yaml", "entries: []\n", Some(good)),
        ("half of a long file", "README.md", &long[..3_000], Some(long.as_str())),
        ("a schema violation", "data/gaps.yaml", "entries:\n- id: 5\n  x: 1\n", Some(good)),
    ] {
        assert_eq!(held(path, text, previous), None, "{name}");
    }
}

#[test]
fn a_declaration_of_the_repository_decides_what_must_parse() {
    let mut policy = Policy::default();
    let path = RepoPath::new("recipes/bread.txt").unwrap();
    assert_eq!(check_file(&policy, &path, b"a: [", None), Verdict::Pass);
    policy.declare(Some(b"version = 1\n[[dataset]]\nname = \"a\"\nfiles = [\"recipes/*.txt\"]\n"));
    assert_ne!(check_file(&policy, &path, b"a: [", None), Verdict::Pass);
    policy.declare(Some(b"nonsense"));
    assert_ne!(check_file(&policy, &path, b"a: [", None), Verdict::Pass);
    policy.declare(None);
    assert_eq!(check_file(&policy, &path, b"a: [", None), Verdict::Pass);
}

/// Every file below a folder, `.git` aside.
fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != ".git" && name != "target") {
                folders.push(path);
            } else if path.is_file() {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn nothing_of_the_real_data_is_held() {
    let Some(root) = std::env::var_os("BAFT_FRAMEWORK_DATA") else {
        eprintln!("skipped: no framework data; set BAFT_FRAMEWORK_DATA");
        return;
    };
    let files = files(Path::new(&root));
    assert!(files.len() > 40);
    for (path, bytes) in files {
        let path = RepoPath::new(path).unwrap();
        assert_eq!(check_file(&Policy::default(), &path, &bytes, None), Verdict::Pass, "{path}");
    }
}

#[test]
fn of_this_repository_only_what_tests_plant_is_held() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for folder in ["docs", "examples", "crates"] {
        for (path, bytes) in files(&root.join(folder)) {
            let path = RepoPath::new(format!("{folder}/{path}")).unwrap();
            let verdict = check_file(&Policy::default(), &path, &bytes, None);
            let planted = path.as_str().contains("/tests/") || path.as_str().contains("/src/");
            assert!(verdict == Verdict::Pass || planted, "{path}: {verdict:?}");
            if verdict != Verdict::Pass {
                eprintln!("{path}: {verdict:?}");
            }
        }
    }
}
