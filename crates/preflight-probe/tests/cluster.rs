//! The checks of a cluster, layer by layer: each fails for its reason, and what its hint says puts it right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod place;

use std::time::{Duration, Instant};

use baft_bus::payload::CheckStatus::{Fail, Pass, Skip, Warn};
use baft_bus::payload::{DaemonStarted, Empty, GitStatus};
use baft_bus::{Bus, Endpoint, Identity, NatsArgs, RequestError, Service, topology};
use baft_preflight_probe::Profile;
use baft_tests::{GitRemote, NatsServer, Port, Process};
use futures_util::StreamExt;
use place::Place;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

fn cluster(server: &NatsServer) -> Place {
    let mut place = Place::new(Profile::Cluster);
    place.nats(server);
    place
}

async fn bus(server: &NatsServer) -> Bus {
    let me = Identity { name: "test".into(), instance: "t".into(), version: "0.1.0".into() };
    Bus::connect_now(&NatsArgs::for_url(&server.url()), me).await.unwrap()
}

/// Answers one kind of question as a daemon would.
fn answering(bus: &Bus, name: &str, suffix: &str, answer: Value) -> CancellationToken {
    let stop = CancellationToken::new();
    let _ = Service::new(bus, name, "0.1.0", "a stand-in")
        .endpoint(Endpoint::query("status", suffix), move |_, _: Empty| {
            let answer = answer.clone();
            async move { Ok::<_, RequestError>(answer) }
        })
        .start(stop.clone());
    stop
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_once_and_nothing_behind_it_is_called_broken() {
    let mut place = Place::new(Profile::Cluster);
    place.scene.nats.nats_url = Some("nats://no-such-host.invalid:4222".to_owned());
    let report = place.all().await;
    let failed: Vec<&str> =
        report.checks.iter().filter(|check| check.status == Fail).map(|check| check.id.as_str()).collect();
    assert_eq!(failed, ["BAFT-N002", "BAFT-D001"], "{report:#?}");
    for check in report.checks.iter().filter(|check| check.category == "nats" && check.id != "BAFT-N002") {
        assert_eq!((check.status, check.because.as_deref()), (Skip, Some("BAFT-N002")), "{check:?}");
    }
    let server = NatsServer::start();
    place.nats(&server);
    assert_eq!(place.check("BAFT-N002").await.status, Pass);
}

#[tokio::test]
async fn wrong_credentials_are_told_from_a_server_that_is_away() {
    let server = NatsServer::start();
    let mut place = cluster(&server);
    place.scene.nats.nats_url = Some(server.bare_url());
    assert_eq!(place.check("BAFT-N001").await.status, Pass, "it is there");
    let check = place.check("BAFT-N004").await;
    assert_eq!(check.status, Fail);
    assert!(check.message.contains("refused the credentials") && check.hint.is_some(), "{check:?}");
    // As the hint says: the user and a file with the password.
    let file = place.path("password");
    place::write(&file, baft_tests::nats::PASSWORD);
    place.scene.nats.nats_user = Some(baft_tests::nats::USER.to_owned());
    place.scene.nats.nats_password_file = Some(file);
    assert_eq!(place.check("BAFT-N004").await.status, Pass);
}

#[tokio::test]
async fn a_server_without_jetstream_or_too_old_lets_us_in_and_is_of_no_use() {
    let server = NatsServer::start_with(|port, _| format!("listen: 127.0.0.1:{port}\n"));
    let mut place = cluster(&server);
    place.scene.nats.nats_url = Some(server.bare_url());
    assert_eq!(place.check("BAFT-N004").await.status, Pass);
    let check = place.check("BAFT-N005").await;
    assert_eq!(check.status, Fail);
    assert!(check.hint.unwrap().contains("nats-server -js"));
    let with = NatsServer::start();
    place.nats(&with);
    assert_eq!(place.check("BAFT-N005").await.status, Pass);
    if let Some(old) = NatsServer::start_old() {
        place.nats(&old);
        let check = place.check("BAFT-N005").await;
        assert_eq!(check.status, Fail);
        assert!(check.message.contains("2.11 or later"), "{}", check.message);
        let streams = place.check("BAFT-N006").await;
        assert_eq!((streams.status, streams.because.as_deref()), (Skip, Some("BAFT-N005")));
    }
}

#[tokio::test]
async fn streams_that_are_missing_or_drifted_are_put_right_by_baft_admin_init() {
    let server = NatsServer::start();
    let place = cluster(&server);
    let check = place.check("BAFT-N006").await;
    assert_eq!((check.status, check.hint.as_deref()), (Fail, Some("baft admin init")));
    assert_eq!(place.check("BAFT-N007").await.status, Skip);
    // What the command does.
    let bus = bus(&server).await;
    topology::ensure(&bus).await.unwrap();
    place.passes("BAFT-N006", "Streams and buckets are as they must be").await;
    let canary = place.check("BAFT-N007").await;
    assert_eq!(canary.status, Pass, "{canary:?}");
    place.passes("BAFT-H002", "Clock agrees with the NATS server's").await;
}

#[tokio::test]
async fn a_server_that_hangs_makes_a_check_late_and_never_the_report() {
    let server = NatsServer::start();
    let place = cluster(&server);
    topology::ensure(&bus(&server).await).await.unwrap();
    server.freeze();
    let began = Instant::now();
    let check = place.check("BAFT-N007").await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(matches!(check.status, Skip | Fail), "{check:?}");
    server.thaw();
}

#[tokio::test]
async fn the_servers_own_word_about_its_health_counts() {
    let web = Port::lease();
    let config = |sync: &str| {
        let (sync, web) = (sync.to_owned(), web.number());
        move |port: u16, store: &std::path::Path| {
            format!(
                "listen: 127.0.0.1:{port}\nhttp: 127.0.0.1:{web}\njetstream {{ store_dir: {:?}, {sync} }}\n",
                store.display().to_string()
            )
        }
    };
    let mut place = Place::new(Profile::Cluster);
    place.scene.nats_monitor = Some(format!("http://127.0.0.1:{}", web.number()));
    let server = NatsServer::start_with(config("sync_interval: 2m"));
    place.scene.nats.nats_url = Some(server.bare_url());
    let check = place.check("BAFT-N008").await;
    assert_eq!(check.status, Warn, "{check:?}");
    assert!(check.hint.unwrap().contains("sync_interval: always"));
    drop(server);
    let server = NatsServer::start_with(config("sync_interval: always"));
    place.scene.nats.nats_url = Some(server.bare_url());
    place.passes("BAFT-N008", "NATS is healthy and writes to disk at once").await;
}

#[tokio::test]
async fn a_daemon_that_does_not_answer_is_named_and_one_that_does_passes() {
    let server = NatsServer::start();
    let mut place = cluster(&server);
    let daemons = [
        ("BAFT-S001", "git-sync", "git.status"),
        ("BAFT-S002", "commit-agent", "commit.main.status"),
        ("BAFT-S003", "duckdb-importer", "import.status"),
        ("BAFT-S004", "session-registry", "session.list"),
    ];
    let bus = bus(&server).await;
    for (id, name, suffix) in daemons {
        place.passes_not_expected(id, name).await;
        place.scene.expected.push(name.to_owned());
        let check = place.check(id).await;
        assert_eq!(check.status, Fail, "{check:?}");
        assert!(check.message.starts_with(&format!("{name} does not answer")), "{}", check.message);
        assert!(check.hint.unwrap().contains(&format!("start {name}")));
        let stop = answering(&bus, name, suffix, json!({}));
        baft_tests::wait_until_async("an answer", Duration::from_secs(10), async || {
            (place.check(id).await.status == Pass).then_some(())
        })
        .await;
        stop.cancel();
    }
}

#[tokio::test]
async fn a_remote_that_git_sync_has_not_reached_for_long_is_a_failure() {
    let server = NatsServer::start();
    let mut place = cluster(&server);
    place.scene.expected.push("git-sync".to_owned());
    let bus = bus(&server).await;
    let seen = |time: Option<String>| {
        let status = GitStatus {
            repo: "https://forge/team/framework".into(),
            reference: "refs/heads/main".into(),
            head: None,
            remote_head: None,
            behind: None,
            last_success_at: time,
            failures: 7,
        };
        serde_json::to_value(status).unwrap()
    };
    let long_ago = (chrono::Utc::now() - chrono::Duration::hours(3)).to_rfc3339();
    for (time, status, says) in [
        (None, Fail, "git-sync has never reached https://forge/team/framework"),
        (Some(long_ago), Fail, "git-sync last reached https://forge/team/framework 3h ago, with 7 failures since"),
        (Some(baft_kit::time::now_rfc3339()), Pass, "git-sync reaches https://forge/team/framework (last"),
    ] {
        let stop = answering(&bus, "git-sync", "git.status", seen(time));
        let check = baft_tests::wait_until_async("an answer", Duration::from_secs(10), async || {
            Some(place.check("BAFT-G003").await).filter(|check| check.status != Skip)
        })
        .await;
        assert_eq!(check.status, status, "{check:?}");
        assert!(check.message.starts_with(says), "{}", check.message);
        stop.cancel();
        baft_tests::wait_until_async("silence", Duration::from_secs(10), async || {
            (place.check("BAFT-S001").await.status == Fail).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_disk_with_too_little_room_is_a_warning_and_then_a_failure_until_there_is_room() {
    let mut place = Place::new(Profile::Cluster);
    place.scene.disks = vec![place.path("root"), place.path("not mounted here")];
    place.scene.disk_percent = (100, 0);
    let check = place.check("BAFT-H001").await;
    assert!(check.status == Warn && check.message.starts_with("Disk space is low: "), "{check:?}");
    place.scene.disk_percent = (100, 100);
    let check = place.check("BAFT-H001").await;
    assert!(check.status == Fail && check.hint.unwrap().contains("du -xsh"), "{}", check.message);
    place.scene.disk_percent = (0, 0);
    assert_eq!(place.check("BAFT-H001").await.status, Pass);
}

/// A certificate for 127.0.0.1 that is good for so many days, signed by itself.
fn certificate(place: &Place, name: &str, days: &str) -> (std::path::PathBuf, std::path::PathBuf) {
    let (key, cert) = (place.path(&format!("{name}.key")), place.path(&format!("{name}.pem")));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", days])
        .args(["-subj", "/CN=nats", "-addext", "subjectAltName=IP:127.0.0.1"])
        // An authority may not sign for itself as a server.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (key, cert)
}

#[tokio::test]
async fn a_certificate_is_trusted_only_from_a_known_authority_and_said_to_expire_in_time() {
    let mut place = Place::new(Profile::Cluster);
    let server = |key: &std::path::Path, cert: &std::path::Path| {
        let (key, cert) = (key.display().to_string(), cert.display().to_string());
        NatsServer::start_with(move |port, store| {
            format!(
                "listen: 127.0.0.1:{port}\njetstream {{ store_dir: {:?} }}\ntls {{ cert_file: {cert:?}, key_file: {key:?} }}\n",
                store.display().to_string()
            )
        })
    };
    let (key, cert) = certificate(&place, "long", "365");
    let long = server(&key, &cert);
    place.scene.nats.nats_url = Some(long.bare_url());
    assert_eq!(place.check("BAFT-N003").await.status, Skip, "nobody asked for TLS");
    place.scene.nats.nats_url = Some(long.bare_url().replace("nats://", "tls://"));
    let check = place.check("BAFT-N003").await;
    assert_eq!(check.status, Fail, "{check:?}");
    assert!(
        check.message.contains("UnknownIssuer") && check.hint.unwrap().contains("BAFT_NATS_CA_FILE"),
        "{}",
        check.message
    );
    // As the hint says.
    place.scene.nats.nats_ca_file = Some(cert);
    place.passes("BAFT-N003", "NATS certificate is good").await;
    let (key, cert) = certificate(&place, "short", "3");
    let short = server(&key, &cert);
    place.scene.nats.nats_url = Some(short.bare_url().replace("nats://", "tls://"));
    let other = place.check("BAFT-N003").await;
    assert_eq!(other.status, Fail, "another authority's: {other:?}");
    place.scene.nats.nats_ca_file = Some(cert);
    let check = place.check("BAFT-N003").await;
    assert_eq!(check.status, Warn, "{check:?}");
    assert!(check.message.starts_with("NATS certificate is good for "), "{}", check.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_nobody_works_for_is_named_until_it_works_or_is_gone() {
    let server = NatsServer::start();
    let mut place = cluster(&server);
    place.scene.lag_limit = 3;
    let bus = bus(&server).await;
    topology::ensure(&bus).await.unwrap();
    place.passes("BAFT-N009", "No NATS consumer lags behind (0 consumers)").await;
    let api = jetstream(&server).await;
    let stream = api.get_stream("BAFT_EVENTS").await.unwrap();
    for name in ["left-behind", "at-work"] {
        let config = async_nats::jetstream::consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            filter_subject: "baft.event.daemon.>".to_owned(),
            ..Default::default()
        };
        stream.create_consumer(config).await.unwrap();
    }
    for n in 0..6 {
        let (name, instance) = (format!("d{n}"), "i".to_owned());
        bus.emit_best_effort(&DaemonStarted { name, instance, version: "1".to_owned() }).await;
    }
    let work = |name: &'static str, count: usize, acknowledge: bool| {
        let stream = stream.clone();
        async move {
            let consumer = stream.get_consumer::<async_nats::jetstream::consumer::pull::Config>(name).await.unwrap();
            let mut messages = consumer.fetch().max_messages(count).messages().await.unwrap();
            while let Some(message) = messages.next().await {
                if acknowledge {
                    message.unwrap().double_ack().await.unwrap();
                }
            }
        }
    };
    work("at-work", 6, true).await;
    // What was given and not acknowledged waits as well.
    work("left-behind", 2, false).await;
    let check = place.check("BAFT-N009").await;
    assert_eq!(check.status, Warn, "{check:?}");
    let says = "NATS consumer left-behind of BAFT_EVENTS is behind: 4 events not delivered, 2 not acknowledged";
    assert_eq!(check.message, says);
    let hint = check.hint.unwrap();
    assert!(hint.ends_with("nats consumer rm -f BAFT_EVENTS left-behind"), "{hint}");
    place.scene.lag_limit = 6;
    place.passes("BAFT-N009", "No NATS consumer lags behind (2 consumers)").await;
    place.scene.lag_limit = 3;
    // What the command does.
    stream.delete_consumer("left-behind").await.unwrap();
    place.passes("BAFT-N009", "No NATS consumer lags behind (1 consumer)").await;
}

/// The server's own library, as whoever reads with a durable consumer uses it.
async fn jetstream(server: &NatsServer) -> async_nats::jetstream::Context {
    let (user, password) = (baft_tests::nats::USER.to_owned(), baft_tests::nats::PASSWORD.to_owned());
    let client = async_nats::ConnectOptions::with_user_and_password(user, password).connect(server.bare_url()).await;
    async_nats::jetstream::new(client.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_follow_is_a_failure_until_it_is_imported() {
    let server = NatsServer::start();
    let mut place = cluster(&server);
    place.scene.expected.extend(["git-sync".to_owned(), "duckdb-importer".to_owned()]);
    let (remote, first) = GitRemote::with_files(&[("data/gaps.yaml", "entries:\n- id: G01-01\n  description: One\n")]);
    let second = remote.commit(&[("data/gaps.yaml", "entries:\n- id: G01-01\n  description: Two\n")]);
    let bus = bus(&server).await;
    topology::ensure(&bus).await.unwrap();
    let status = json!({
        "repo": "r", "ref": "refs/heads/main", "head": second, "remote_head": second, "behind": 0,
        "last_success_at": baft_kit::time::now_rfc3339(), "failures": 0,
    });
    let _git_sync = answering(&bus, "git-sync", "git.status", status);
    let (url, workspace) = (server.url(), place.path("workspace").display().to_string());
    let (repo, admin) = (remote.bare().display().to_string(), Port::lease().address().to_string());
    let args = ["run", "--source=git", "--root", &repo, "--repo", &repo, "--workspace", &workspace];
    let args = [&args[..], &["--admin-addr", &admin, "--poll", "1h"]].concat();
    let _importer = Process::spawn_bin("duckdb-importer", args, &[("NATS_URL", &url)]);
    let soon = Duration::from_secs(60);
    let follows = format!("DuckDB follows the repository (commit {})", &second[..12]);
    baft_tests::wait_until_async("the first import", soon, async || {
        let check = place.check("BAFT-D003").await;
        (check.status == Pass && check.message == follows).then_some(())
    })
    .await;
    // Somebody has it hold an older commit, and nothing rings.
    bus.request::<_, Value>("import.run", &json!({ "commit": first }), soon).await.unwrap();
    let check = place.check("BAFT-D003").await;
    let says = format!(
        "DuckDB is behind the repository: it holds commit {}, published is commit {}",
        &first[..12],
        &second[..12]
    );
    assert_eq!((check.status, check.message), (Fail, says));
    assert!(check.hint.unwrap().starts_with("baft import "));
    // What the command does.
    bus.request::<_, Value>("import.run", &json!({}), soon).await.unwrap();
    place.passes("BAFT-D003", &follows).await;
}
