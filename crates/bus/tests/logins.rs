//! Every way to log in to a NATS server, against a real one: it lets us in, a file that changed counts at the next
//! connect, what does not do is said with what to do, and no secret is in any log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod papers;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use baft_bus::{Bus, BusError, Link, NatsArgs, topology};
use baft_tests::{NatsServer, wait_until_async};
use common::{SOON, identity};
use papers::{Authority, Operator, creds_file};
use tempfile::TempDir;

/// Everything that is logged in this process, whatever its level.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logs {
    fn listen() -> Self {
        static LOGS: OnceLock<Logs> = OnceLock::new();
        let start = || {
            let logs = Logs::default();
            let writer = logs.clone();
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
            subscriber.with_ansi(false).with_writer(move || writer.clone()).init();
            logs
        };
        LOGS.get_or_init(start).clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn never(&self, secrets: &[&str]) {
        let text = self.text();
        assert!(text.contains("async_nats"), "the library's own logs are looked at too");
        for secret in secrets {
            let found = text.lines().find(|line| line.contains(secret));
            assert_eq!(found, None, "a secret was logged");
        }
    }
}

/// A server with this in its configuration, and a folder for files.
struct Place {
    server: NatsServer,
    folder: TempDir,
    logs: Logs,
}

fn config(port: u16, store: &Path, rest: &str) -> String {
    format!("listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n{rest}\n", store.display())
}

impl Place {
    fn with(rest: &str) -> Self {
        let logs = Logs::listen();
        let server = NatsServer::start_with(|port, store| config(port, store, rest));
        Self { server, folder: tempfile::tempdir().unwrap(), logs }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn args(&self) -> NatsArgs {
        NatsArgs::for_url(&self.server.bare_url())
    }

    /// A daemon gets in and may work.
    async fn enters(&self, args: &NatsArgs) -> Bus {
        let bus = Bus::connect(args, identity("git-sync"), None).await.unwrap();
        bus.wait_connected(SOON).await.unwrap();
        topology::ensure(&bus).await.unwrap();
        bus
    }

    /// A command is turned away at once.
    async fn turned_away(&self, args: &NatsArgs) -> BusError {
        tokio::time::timeout(SOON, Bus::connect_now(args, identity("baft"))).await.expect("an answer").unwrap_err()
    }

    /// The server forgets what it knew and knows something else; whoever has the new secret comes back.
    async fn changes(&mut self, bus: &Bus, rest: &str) {
        self.server.kill();
        bus.connected().wait_for(|link| *link != Link::Up).await.unwrap();
        let (port, store) = (self.server.port(), self.server.store());
        std::fs::write(self.server.config_file(), config(port, &store, rest)).unwrap();
        self.server.restart();
        bus.wait_connected(Duration::from_secs(20)).await.unwrap();
        assert!(topology::verify(bus).await.unwrap().is_empty());
    }
}

fn is_refused(error: &BusError) -> bool {
    matches!(error, BusError::Unauthorized { .. }) && error.to_string().contains("check the user's file")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_a_password_let_in_and_a_new_password_counts_at_the_next_connect() {
    let rules = |password: &str| format!("authorization {{ user: ann, password: \"{password}\" }}");
    let mut place = Place::with(&rules("first-hunter2"));
    let file = place.file("password", "first-hunter2\n");
    let args = NatsArgs { nats_user: Some("ann".into()), nats_password_file: Some(file.clone()), ..place.args() };
    let bus = place.enters(&args).await;
    let wrong = NatsArgs { nats_password_file: Some(place.file("wrong", "bad-hunter2")), ..args.clone() };
    let error = place.turned_away(&wrong).await;
    assert!(is_refused(&error), "{error}");
    assert!(is_refused(&place.turned_away(&place.args()).await), "nobody");
    std::fs::write(&file, "second-hunter2\n").unwrap();
    place.changes(&bus, &rules("second-hunter2")).await;
    place.logs.never(&["first-hunter2", "second-hunter2", "bad-hunter2"]);
    assert!(!format!("{args:?} {bus:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_and_a_new_one_counts_at_the_next_connect() {
    let rules = |token: &str| format!("authorization {{ token: \"{token}\" }}");
    let mut place = Place::with(&rules("t0ken-one"));
    let file = place.file("token", "t0ken-one\n");
    let args = NatsArgs { nats_token_file: Some(file.clone()), ..place.args() };
    let bus = place.enters(&args).await;
    let wrong = NatsArgs { nats_token_file: Some(place.file("wrong", "t0ken-bad")), ..place.args() };
    assert!(is_refused(&place.turned_away(&wrong).await));
    std::fs::write(&file, "t0ken-two\n").unwrap();
    place.changes(&bus, &rules("t0ken-two")).await;
    place.logs.never(&["t0ken-one", "t0ken-two", "t0ken-bad"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seed_of_an_nkey_lets_in_and_a_new_one_counts_at_the_next_connect() {
    let [one, two, other] = [(); 3].map(|()| nkeys::KeyPair::new_user());
    let rules = |key: &nkeys::KeyPair| format!("authorization {{ users = [ {{ nkey: {} }} ] }}", key.public_key());
    let mut place = Place::with(&rules(&one));
    let seeds = [&one, &two, &other].map(|key| key.seed().unwrap());
    // As nsc writes them.
    let file = place.file("user.nk", &format!("# the user of git-sync\n{}\n", seeds[0]));
    let args = NatsArgs { nats_nkey_file: Some(file.clone()), ..place.args() };
    let bus = place.enters(&args).await;
    let wrong = NatsArgs { nats_nkey_file: Some(place.file("other.nk", &seeds[2])), ..place.args() };
    assert!(is_refused(&place.turned_away(&wrong).await));
    let public = NatsArgs { nats_nkey_file: Some(place.file("public", &one.public_key())), ..place.args() };
    let error = public.check().unwrap_err().to_string();
    assert!(error.contains("public") && error.contains("no user seed"), "{error}");
    std::fs::write(&file, &seeds[1]).unwrap();
    place.changes(&bus, &rules(&two)).await;
    place.logs.never(&seeds.each_ref().map(String::as_str));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_file_lets_in_where_an_operator_says_who_may() {
    let operator = Operator::new();
    let mut place = Place::with(&operator.config());
    let (one, two) = (operator.user("one"), operator.user("two"));
    let file = place.file("user.creds", &creds_file(&one));
    let args = NatsArgs { nats_creds_file: Some(file.clone()), ..place.args() };
    let bus = place.enters(&args).await;
    // Somebody whom another operator vouches for.
    let stranger = Operator::new().user("one");
    let wrong =
        NatsArgs { nats_creds_file: Some(place.file("stranger.creds", &creds_file(&stranger))), ..place.args() };
    assert!(is_refused(&place.turned_away(&wrong).await));
    let half = NatsArgs { nats_creds_file: Some(place.file("half.creds", &one.jwt)), ..place.args() };
    let error = half.check().unwrap_err().to_string();
    assert!(error.contains("half.creds") && error.contains("no NATS credentials file"), "{error}");
    std::fs::write(&file, creds_file(&two)).unwrap();
    place.changes(&bus, &operator.config()).await;
    place.logs.never(&[&one.seed, &two.seed, &stranger.seed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_certificate_of_an_own_authority_is_trusted_when_that_is_named_and_only_then() {
    let papers = tempfile::tempdir().unwrap();
    let ours = Authority::new(papers.path(), "ours");
    let server = ours.sign("server", "subjectAltName=IP:127.0.0.1");
    let place = Place::with(&server.tls(""));
    let args = NatsArgs { nats_ca_file: Some(ours.cert.clone()), ..place.args() };
    let bus = place.enters(&args).await;
    assert!(bus.is_up());

    // The authority is not named, or another one is.
    let error = place.turned_away(&place.args()).await.to_string();
    assert!(error.contains("UnknownIssuer") && error.contains("name its authority with --nats-ca-file"), "{error}");
    let other = Authority::new(papers.path(), "other");
    let wrong = NatsArgs { nats_ca_file: Some(other.cert.clone()), ..place.args() };
    let error = place.turned_away(&wrong).await;
    assert!(matches!(error, BusError::Tls { .. }) && !error.is_retryable(), "{error:?}");
    let says = format!("not signed by the authority in {}", other.cert.display());
    assert!(error.to_string().contains(&says) && error.to_string().contains(&place.args().nats_url.unwrap()[7..]));

    // A daemon goes on trying, and says so once, with the same words; the file may be put right meanwhile.
    let file = place.folder.path().join("ca.pem");
    std::fs::copy(&other.cert, &file).unwrap();
    let args = NatsArgs { nats_ca_file: Some(file.clone()), ..place.args() };
    let bus = Bus::connect(&args, identity("git-sync"), None).await.unwrap();
    let says = format!("not signed by the authority in {}", file.display());
    wait_until_async("the reason", Duration::from_secs(20), || {
        let found = matches!(&*bus.connected().borrow(), Link::Down { reason } if reason.contains(&says));
        async move { found.then_some(()) }
    })
    .await;
    let logged = place.logs.text();
    let warned = logged.lines().filter(|line| line.contains("WARN") && line.contains(&says)).count();
    assert_eq!(warned, 1, "{logged}");
    std::fs::copy(&ours.cert, &file).unwrap();
    bus.wait_connected(Duration::from_secs(30)).await.unwrap();

    // A name that is not in the certificate.
    let named = NatsArgs { nats_url: Some(place.server.bare_url().replace("127.0.0.1", "localhost")), ..args };
    let error = place.turned_away(&named).await.to_string();
    assert!(error.contains("--nats-url must use a name that is in the certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_for_a_certificate_takes_ours_and_nobody_comes_in_without() {
    let papers = tempfile::tempdir().unwrap();
    let ours = Authority::new(papers.path(), "ours");
    let server = ours.sign("server", "subjectAltName=IP:127.0.0.1");
    let client = ours.sign("client", "subjectAltName=DNS:git-sync");
    let place = Place::with(&server.tls(&format!("ca_file: {:?}, verify: true", ours.cert)));
    let without = NatsArgs { nats_ca_file: Some(ours.cert.clone()), ..place.args() };
    let with = |cert: &Path, key: &Path| NatsArgs {
        nats_cert_file: Some(cert.to_owned()),
        nats_key_file: Some(key.to_owned()),
        ..without.clone()
    };
    let bus = place.enters(&with(&client.cert, &client.key)).await;
    assert!(bus.is_up());

    let error = place.turned_away(&without).await.to_string();
    assert!(error.contains("wants to see a certificate: --nats-cert-file"), "{error}");
    let other = Authority::new(papers.path(), "other");
    let foreign = other.sign("foreign", "subjectAltName=DNS:git-sync");
    let error = place.turned_away(&with(&foreign.cert, &foreign.key)).await.to_string();
    assert!(error.contains(&format!("does not take {}", foreign.cert.display())), "{error}");
    // A daemon says the same; the library alone would only say that there was an input or output error.
    let bus = Bus::connect(&without, identity("git-sync"), None).await.unwrap();
    wait_until_async("the reason", Duration::from_secs(20), || {
        let found = matches!(&*bus.connected().borrow(), Link::Down { reason } if reason.contains("--nats-cert-file"));
        async move { found.then_some(()) }
    })
    .await;

    // What cannot work is refused before anything is sent.
    let error = with(&client.cert, &foreign.key).check().unwrap_err().to_string();
    assert!(error.contains("is not the key of --nats-cert-file"), "{error}");
    let error = NatsArgs { nats_key_file: None, ..with(&client.cert, &client.key) }.check().unwrap_err().to_string();
    assert!(error.contains("--nats-key-file belong together"), "{error}");
    let key = std::fs::read_to_string(&client.key).unwrap();
    place.logs.never(&key.lines().filter(|line| !line.starts_with("---")).collect::<Vec<_>>());
}

/// Not a login, but the same promise: a server that is not there is said to be so by whoever waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_server_is_not_there_says_once_why() {
    let logs = Logs::listen();
    let server = NatsServer::prepare();
    let bus = Bus::connect(&NatsArgs::for_url(&server.bare_url()), identity("git-sync"), None).await.unwrap();
    let says = format!("127.0.0.1:{}: Connection refused", server.port());
    wait_until_async("the reason", Duration::from_secs(20), || {
        let found = logs.text().lines().filter(|line| line.contains("WARN") && line.contains(&says)).count();
        async move { (found == 1).then_some(()) }
    })
    .await;
    drop(bus);
}
