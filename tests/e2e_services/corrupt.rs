//! A member whose data really differs: one of three gets a state on its disk in which a value is another. The others
//! notice, say so, and go on when it is gone.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::common::{
    Cluster, Node,
    cluster::WATCHKEEP,
    etcdctl::{self, ok},
    eventually, http,
    wait::ensure,
};

const SOON: Duration = Duration::from_secs(30);
const ROLES: [&str; 3] = ["registry"; 3];
const WRITTEN: &str = "what was written";
const OTHER: &str = "what was WRITTEN";
/// Where the frames of a backup begin.
const HEAD_BYTES: usize = 512;

fn watchkeep(args: &[&str]) {
    let output = Command::new(WATCHKEEP).args(args).env_clear().output().expect("watchkeep");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "watchkeep {args:?}: {said}");
}

fn path(of: &Path) -> &str {
    of.to_str().expect("UTF-8")
}

/// The backup with [`OTHER`] for [`WRITTEN`], and every checksum right again (`registry/src/backup.rs` says what is where).
fn altered(backup: &[u8]) -> Vec<u8> {
    let (written, other) = (WRITTEN.as_bytes(), OTHER.as_bytes());
    let mut bytes = backup[..backup.len() - 32].to_vec();
    let (mut at, mut changes) = (HEAD_BYTES, 0);
    loop {
        let length: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        let length = u32::from_be_bytes(length);
        if length == 0 {
            break;
        }
        let rows = at + 8;
        let end = rows + usize::try_from(length).expect("a frame");
        let found = bytes[rows..end].windows(written.len()).position(|part| part == written);
        if let Some(found) = found {
            bytes[rows + found..][..other.len()].copy_from_slice(other);
            let checksum = crc32c::crc32c(&bytes[rows..end]).to_be_bytes();
            bytes[at + 4..rows].copy_from_slice(&checksum);
            changes += 1;
        }
        at = end;
    }
    assert_eq!(changes, 1, "the value is there once");
    let checksum = Sha256::digest(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

fn restore(node: &Node, members: &str, backup: &Path, data: &Path) {
    let id = node.id.to_string();
    let target = ["--data-dir", path(data), "--node-id", &id, "--initial-cluster", members];
    watchkeep(&[&["restore", path(backup)][..], &target].concat());
}

/// Three members restored of a backup, and their addresses; beside it lies an altered one.
async fn three() -> (Cluster, String) {
    let often = ("registry", json!({"corrupt_check_interval_ms": 100}));
    let cluster = Cluster::layout_roles(&ROLES, None, &[often]);
    let before = Cluster::layout_roles(&["registry"], None, &[]).run().await;
    ok(&before.nodes[0].client, &["put", "k", WRITTEN]);
    let backup = cluster.dir().join("backup");
    watchkeep(&["backup", "--endpoints", &before.urls()[0], "--out", path(&backup)]);
    let whole = fs::read(&backup).expect("the backup");
    fs::write(cluster.dir().join("altered"), altered(&whole)).expect("written");
    let members: Vec<String> =
        cluster.nodes.iter().map(|node| format!("{}={}", node.id, node.peer)).collect();
    let members = members.join(",");
    for node in &cluster.nodes {
        restore(node, &members, &backup, &node.data());
    }
    (cluster.run().await, members)
}

async fn says(node: &Node, line: &str) {
    eventually(&format!("{}: {line}", node.name), SOON, async || {
        let page = http::text(http::client().get(node.url("/metrics"))).await?;
        ensure(page.contains(line), || page.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_data_differs_is_named_and_nothing_is_written_until_it_is_gone() {
    let (mut cluster, members) = three().await;
    let leader = cluster.raft_leader().await;
    let at = cluster.nodes[leader].client.clone();
    ok(&at, &["put", "later", "1"]);
    let compared = "watchkeep_registry_corruption_checks_total{result=\"equal\"}";
    says(&cluster.nodes[leader], compared).await;
    assert_eq!(ok(&at, &["alarm", "list"]), "");

    let ill = (leader + 1) % 3;
    let (altered, spare) = (cluster.dir().join("altered"), cluster.dir().join("spare"));
    let node = &mut cluster.nodes[ill];
    node.kill();
    restore(node, &members, &altered, &spare);
    // Its log stays: what came after the backup is applied to the altered state.
    let state = node.data().join("registry/state");
    fs::remove_dir_all(&state).expect("its state");
    fs::rename(spare.join("registry/state"), &state).expect("another state");
    node.start();
    let id = node.id;
    let alarm = format!("memberID:{id} alarm:CORRUPT");
    eventually(&alarm, SOON, async || {
        let list = ok(&at, &["alarm", "list"]);
        ensure(list == alarm, || format!("alarms: {list:?}"))
    })
    .await;

    let raised =
        format!("etcd_debugging_server_alarms{{alarm_type=\"CORRUPT\",server_id=\"{id}\"}} 1");
    for node in &cluster.nodes {
        says(node, &raised).await;
        // Everywhere, at the member that differs, too; its clients are the ones who read what was not written.
        let output = etcdctl::run(&node.client, &["put", "k", "new"], "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("etcdserver: corrupt cluster"), "{}: {said}", node.name);
        let own = ok(&node.client, &["get", "--consistency=s", "--print-value-only", "k"]);
        assert_eq!(own, if node.id == id { OTHER } else { WRITTEN }, "{}", node.name);
        assert_eq!(ok(&node.client, &["get", "--print-value-only", "later"]), "1");
    }

    // As the runbook WatchkeepCorrupt says.
    cluster.nodes[ill].kill();
    ok(&at, &["member", "remove", &format!("{id:x}")]);
    assert_eq!(ok(&at, &["alarm", "disarm"]), alarm);
    assert_eq!(ok(&at, &["put", "k", "new"]), "OK");
    assert_eq!(ok(&at, &["alarm", "list"]), "");
}
