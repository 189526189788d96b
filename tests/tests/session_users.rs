//! `baft session …` where NATS says who may do what: a server with users as `baft admin nats-users` prints them, a
//! session-registry, and people with their own names.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod baft;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use baft::{Answer, Machine, SOON, finish};
use baft_bus::payload::{SessionEndRequest, SessionStartRequest, SessionStartResponse};
use baft_bus::{Bus, Identity, NatsArgs};
use baft_tests::{NatsServer, Port, Process, wait_until, web};
use serde_json::{Value, json};

const USERS: [&str; 6] = [
    "provisioner=provisioner",
    "registry=session-registry",
    "ann=analyst",
    "bob=analyst",
    "rita=reader",
    "olga=operator",
];

/// A server that knows its users, and a registry.
struct Town {
    machine: Machine,
    nats: NatsServer,
    registry: Process,
}

impl Town {
    fn open() -> Self {
        let machine = Machine::new();
        let rules = machine.ok(&[&["admin", "nats-users"], &USERS[..]].concat());
        let name = |user: &str| user.split_once('=').unwrap().0.to_owned();
        // In production the server's environment says them.
        let passwords: String = USERS
            .iter()
            .map(|user| format!("BAFT_NATS_PASSWORD_{}: \"pw-{}\"\n", name(user).to_uppercase(), name(user)))
            .collect();
        let nats = NatsServer::start_with(|port, store| {
            let store = store.display();
            format!("{passwords}listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{store}\" }}\n{rules}")
        });
        let init = finish(Self::with(&machine, &nats, "provisioner", &["admin", "init"]));
        assert_eq!(init.code, 0, "{init:#?}");
        let admin = Port::lease();
        let address = admin.address().to_string();
        let mut command = machine.command("session-registry", &["--require-principal", "--admin-addr", &address]);
        command.env("NATS_URL", format!("nats://registry:pw-registry@127.0.0.1:{}", nats.port()));
        let mut registry = Process::spawn("session-registry", command);
        wait_until("the registry to be ready", SOON, || {
            assert!(registry.is_running(), "{}", registry.logs());
            (web::get(admin.address(), "/readyz").0 == 200).then_some(())
        });
        Self { machine, nats, registry }
    }

    fn with(machine: &Machine, nats: &NatsServer, user: &str, args: &[&str]) -> Command {
        let mut command = machine.command("baft", args);
        let password = machine.path(&format!("{user}.password"));
        std::fs::write(&password, format!("pw-{user}\n")).unwrap();
        command
            .env("NATS_URL", nats.bare_url())
            .env("BAFT_NATS_USER", user)
            .env("BAFT_NATS_PASSWORD_FILE", password)
            .env("BAFT_NATS_INBOX_PREFIX", format!("_INBOX_{user}"))
            // Each has a home of their own.
            .env("XDG_STATE_HOME", machine.path(&format!("state-{user}")))
            .env("BAFT_ANALYST", user);
        command
    }

    /// A session command of somebody, connected with their own user.
    fn command(&self, user: &str, args: &[&str]) -> Command {
        Self::with(&self.machine, &self.nats, user, &[&["session"], args].concat())
    }

    fn run(&self, user: &str, args: &[&str]) -> Answer {
        finish(self.command(user, args))
    }

    fn ok(&self, user: &str, args: &[&str]) -> String {
        let answer = self.run(user, args);
        assert_eq!(answer.code, 0, "{user} {args:?}: {answer:#?}");
        answer.stdout
    }

    /// Refused at once, with a reason, and nothing else.
    fn refused(&self, user: &str, args: &[&str], says: &[&str]) {
        let began = Instant::now();
        let answer = self.run(user, args);
        assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{user} {args:?}: {answer:#?}");
        for says in says {
            assert!(answer.stderr.contains(says), "{user} {args:?} should say {says}: {answer:#?}");
        }
        assert!(began.elapsed() < Duration::from_secs(15), "it waited for an answer that never comes");
    }

    fn state(&self, id: &str) -> String {
        let all: Value = serde_json::from_str(&self.ok("rita", &["list", "--all", "--json"])).unwrap();
        let found = all["sessions"].as_array().unwrap().iter().find(|session| session["session_id"] == id).cloned();
        found.map(|session| session["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Sessions that begin and end, many at a time.
    async fn lives(&self, names: impl Iterator<Item = String>) {
        let me = Identity { name: "baft".to_owned(), instance: "test".to_owned(), version: "0.0.0".to_owned() };
        let url = format!("nats://olga:pw-olga@127.0.0.1:{}", self.nats.port());
        let inbox = Some("_INBOX_olga".to_owned());
        let bus =
            Bus::connect_now(&NatsArgs { nats_inbox_prefix: inbox, ..NatsArgs::for_url(&url) }, me).await.unwrap();
        let names: Vec<String> = names.collect();
        for some in names.chunks(16) {
            let lives: Vec<_> = some.iter().map(|name| tokio::spawn(live(bus.clone(), name.clone()))).collect();
            for life in lives {
                life.await.unwrap();
            }
        }
    }
}

async fn live(bus: Bus, id: String) {
    let options =
        || baft_bus::RequestOptions { principal: Some("olga".to_owned()), ..baft_bus::RequestOptions::timeout(SOON) };
    let request = SessionStartRequest { session_id: Some(id.clone()), ..Default::default() };
    let started: SessionStartResponse = bus.request_with("session.start", &request, options()).await.unwrap();
    let request = SessionEndRequest { session_id: id, epoch: Some(started.epoch), message: None, force: false };
    bus.request_with::<_, Value>("session.end", &request, options()).await.unwrap();
}

#[test]
fn everybody_acts_in_their_own_name_and_in_nobody_elses() {
    let mut town = Town::open();
    let started = town.ok("ann", &["start", "--session-id", "anns", "--principal", "ann"]);
    assert!(started.contains("Session id: anns"), "{started}");
    // Whose it is was said by NATS.
    let listed: Value = serde_json::from_str(&town.ok("bob", &["list", "--json"])).unwrap();
    assert_eq!(listed["sessions"][0]["principal"], "ann");

    // In another's name, in nobody's, and as a reader: the server does not let it through.
    let denied = |subject: &str| format!("Permissions Violation for Publish to \"{subject}\"");
    let as_ann = denied("baft.session.start.as.ann");
    town.refused("bob", &["start", "--principal", "ann"], &["the NATS user may not ask `session.start`", &as_ann]);
    town.refused("bob", &["start"], &[&denied("baft.session.start"), "--principal"]);
    town.refused("rita", &["start", "--principal", "rita"], &[&denied("baft.session.start.as.rita")]);
    town.refused("bob", &["end", "--session-id", "anns", "--principal", "ann"], &[&denied("baft.session.end.as.ann")]);
    town.refused("bob", &["sync", "--principal", "ann"], &[&denied("baft.session.sync.as.ann")]);
    // As himself he is let through, and the registry refuses.
    town.refused("bob", &["end", "--session-id", "anns", "--principal", "bob"], &["anns", "ann"]);
    town.refused("bob", &["start", "--session-id", "anns", "--take-over", "--principal", "bob"], &["anns"]);
    let wrong = town.run("bob", &["start", "--principal", "b.ob"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("`b.ob` is no principal"), "{wrong:#?}");
    assert_eq!(town.state("anns"), "active");

    // Beats are hers too.
    let mut watch = town.command("ann", &["watch", "--every", "200ms"]);
    let watch = Process::spawn("watch", {
        watch.env("BAFT_PRINCIPAL", "ann");
        watch
    });
    wait_until("a beat", SOON, || watch.stdout().contains("anns: active").then_some(()));
    let mut end = town.command("ann", &["end", "-m", "Done"]);
    end.env("BAFT_PRINCIPAL", "ann");
    let ended = finish(end);
    assert!(ended.code == 0 && ended.stdout.contains("Session anns: ended"), "{ended:#?}");
    assert_eq!(town.state("anns"), "ended");
    let complaints = |logs: &str| logs.lines().filter(|line| line.contains("iolation")).count();
    assert_eq!(complaints(&town.registry.logs()), 0, "{}", town.registry.logs());
    assert!(town.registry.terminate(SOON).success(), "{}", town.registry.logs());
}

#[test]
fn a_watch_tells_what_others_do_as_it_happens() {
    let town = Town::open();
    town.ok("ann", &["start", "--session-id", "anns", "--principal", "ann"]);
    let watch = |args: &[&str]| {
        let args = [&["watch", "--every", "500ms", "--principal", "ann"], args].concat();
        Process::spawn("watch", town.command("ann", &args))
    };
    let (mut text, programs) = (watch(&[]), watch(&["--json"]));
    for watch in [&text, &programs] {
        wait_until("the first beat", SOON, || watch.stdout().contains("active").then_some(()));
    }
    // It listens a moment after it begins to beat: bob comes and goes until he is noticed.
    let mut day = 0;
    wait_until("bob to be noticed", SOON, || {
        day += 1;
        let id = format!("bobs-{day}");
        town.ok("bob", &["start", "--session-id", &id, "--objective", "Wells", "--principal", "bob"]);
        let started = format!("anns: session.started: {id} of bob: starting → active");
        let noticed = text.stdout().contains(&started) && programs.stdout().contains(&id);
        town.ok("bob", &["end", "--principal", "bob"]);
        noticed.then_some(())
    });
    let over = format!("anns: session.ended: bobs-{day} of bob: ending → ended");
    wait_until("the end to be noticed", SOON, || text.stdout().contains(&over).then_some(()));
    let lines: Vec<Value> = wait_until("the end as JSON", SOON, || {
        let lines = programs.stdout();
        let lines: Vec<Value> = lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        lines.iter().any(|line| line["what"] == "session.ended").then_some(lines)
    });
    let ended = lines.iter().find(|line| line["what"] == "session.ended").unwrap();
    assert_eq!((&ended["session_id"], &ended["event"]["data"]["to"]), (&json!("anns"), &json!("ended")));
    assert!(!text.stdout().contains("of ann"), "her own steps are told by the beats: {}", text.stdout());

    // The end of her own session ends it.
    town.ok("ann", &["end", "--principal", "ann"]);
    text.wait(SOON);
}

/// Every line of an export.
fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_history_is_exported_beyond_any_page_each_step_once_for_a_session_or_a_time() {
    let mut town = Town::open();
    // Four steps each: more than two answers of the registry can hold.
    town.lives((0..130).map(|n| format!("early-{n}"))).await;
    town.lives((0..130).map(|n| format!("late-{n}"))).await;
    // Steps are told in the background; so many at once take a moment.
    let answer = wait_until("every step to be told", SOON, || {
        Some(town.run("rita", &["history", "--export"])).filter(|answer| answer.stderr.trim() == "1040 steps exported")
    });
    assert_eq!(answer.code, 0);
    let all = lines(&answer.stdout);
    assert_eq!(all.len(), 1040);
    let ids: BTreeSet<&str> = all.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), all.len());
    assert!(all.is_sorted_by_key(|line| line["sequence"].as_u64().unwrap()));
    let mut steps: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in &all {
        let step = &line["data"];
        let id = step["record"]["session_id"].as_str().unwrap();
        steps.entry(id).or_default().push(step["to"].as_str().unwrap());
    }
    assert_eq!(steps.len(), 260);
    for (id, steps) in steps {
        assert_eq!(steps, ["starting", "active", "ending", "ended"], "{id}");
    }

    let exported = |args: &[&str]| lines(&town.ok("rita", &[&["history", "--export"], args].concat()));
    assert_eq!(exported(&["late-7"]).len(), 4);
    let early = |line: &Value| line["data"]["record"]["session_id"].as_str().unwrap().starts_with("early-");
    let noon = all.iter().filter(|line| !early(line)).map(|line| line["time"].as_str().unwrap()).min().unwrap();
    let (before, after) = (exported(&["--until", noon]), exported(&["--since", noon]));
    assert_eq!((before.len(), after.len()), (520, 520));
    assert!(before.iter().all(early) && !after.iter().any(early));
    assert_eq!(exported(&["--since", "1h", "--until", noon]).len(), 520);
    let wrong = town.run("rita", &["history", "--export", "--since", "noon"]);
    assert!(wrong.code == 2 && wrong.stderr.contains("--since: 'noon' is not a time"), "{wrong:#?}");
    assert_eq!(town.run("rita", &["history", "--since", "1h"]).code, 2, "only an export has a range");

    // The server restarts in the middle, and then stays away.
    let (whole, code, _) = town.interrupted(&[], NatsServer::restart);
    assert_eq!((lines(&whole).len(), code), (1040, 0));
    let (part, code, said) = town.interrupted(&["--timeout", "2s"], NatsServer::kill);
    assert!(lines(&part).len() < 1040 && code == 75, "{code}: {said}");
    assert!(said.contains("the export is not complete"), "{said}");
}

impl Town {
    /// An export whose reader is slow: something happens to the server when it is not half done.
    fn interrupted(&mut self, args: &[&str], what: impl FnOnce(&mut NatsServer)) -> (String, i32, String) {
        let mut command = self.command("rita", &[&["history", "--export"], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        // A pipe holds less than a tenth of it.
        stdout.read_line(&mut text).unwrap();
        what(&mut self.nats);
        stdout.read_to_string(&mut text).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (text, child.wait().unwrap().code().unwrap_or(-1), said)
    }
}
