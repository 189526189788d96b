//! Scenario 9: no room under the server's store.

use std::process::Command;
use std::time::{Duration, Instant};

use baft_bus::payload::*;
use baft_bus::{Code, RequestError, RequestOptions};
use baft_tests::{NatsServer, Port, Process, nats, wait_until_async};
use serde_json::{Value, json};

use crate::support::SOON;

/// A small file system of its own, gone with the guard; none where nobody may mount.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_an_answer_in_time_and_after_a_restart_with_room_everything_acknowledged_is_there() {
    let Some(disk) = Small::mount() else {
        println!("skipped: this machine does not allow mounting a small file system");
        return;
    };
    let store = disk.0.path().join("store");
    let mut server = NatsServer::start_with(|port, _| {
        let config = baft_bus::private_server_config(port, &store, nats::USER, nats::PASSWORD);
        // It would reserve no more than there is, and the streams may grow to more.
        config.replace("sync_interval: always", "sync_interval: always\n  max_file_store: 100GB")
    });
    let bus = server.client().await;
    let admin = Port::lease().address().to_string();
    let args = ["--admin-addr", &admin, "--sync-check", "0s"];
    let mut registry = Process::spawn_bin("session-registry", args, &[("NATS_URL", &server.url())]);
    wait_until_async("the registry to answer", SOON, || async {
        bus.request::<_, Value>("session.list", &json!({}), SOON).await.ok().map(drop)
    })
    .await;
    let start = |id: String| {
        let bus = bus.clone();
        async move {
            let limit = Duration::from_secs(12);
            let began = Instant::now();
            let request = SessionStartRequest { session_id: Some(id), ..SessionStartRequest::default() };
            let result: Result<SessionStartResponse, RequestError> =
                bus.request_with("session.start", &request, RequestOptions::timeout(limit)).await;
            assert!(began.elapsed() < limit + Duration::from_secs(1), "it did not end in time");
            result
        }
    };
    let first = start("before".to_owned()).await.unwrap();
    let ballast = disk.0.path().join("ballast");
    // As much as there is room for.
    let _ = Command::new("dd").args(["if=/dev/zero", "bs=4k"]).arg(format!("of={}", ballast.display())).output();
    let mut acknowledged = vec![first];
    let mut refused = None;
    for n in 0..400 {
        match start(format!("s-{n}")).await {
            Ok(started) => acknowledged.push(started),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let refused = refused.expect("a full disk to be noticed");
    assert!(matches!(refused.code, Code::Unavailable | Code::Timeout), "{refused:?}");
    assert!(refused.retryable && refused.hint.is_some(), "{refused:?}");
    // The hint of the preflight: make room, then restart the server.
    std::fs::remove_file(&ballast).unwrap();
    server.restart();
    bus.wait_connected(SOON).await.unwrap();
    wait_until_async("sessions to start again", SOON, || async { start("after".to_owned()).await.ok() }).await;
    for started in acknowledged {
        let request = SessionGetRequest { session_id: started.session_id.clone() };
        let found: SessionGetResponse = bus.request("session.get", &request, SOON).await.unwrap();
        assert_eq!(found.record.epoch, started.epoch, "{}", started.session_id);
    }
    assert!(registry.terminate(SOON).success(), "{}", registry.logs());
}
