//! One member of the registry as a process in its own network namespace.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    common::{cluster::WATCHKEEP, process::Process},
    network::Network,
};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;
/// Few, so that members which were away are brought back by a snapshot.
const LOG_ENTRIES_KEPT: u64 = 1_000;

/// A member.
pub(crate) struct Member {
    /// Its place, from 0.
    pub(crate) at: usize,
    /// Its number in the cluster.
    pub(crate) id: u64,
    /// `http://10.…:2379`.
    pub(crate) url: String,
    /// How often it has been killed: what one life of it promises, the next does not know.
    pub(crate) lives: Arc<AtomicU64>,
    /// What is put back into it on purpose (`registry/src/cluster/bug.rs`).
    bug: Option<&'static str>,
    dir: PathBuf,
    process: Option<Process>,
}

impl Member {
    /// Writes its configuration; does not start it.
    pub(crate) fn layout(
        network: &Network,
        at: usize,
        count: usize,
        parent: &Path,
        bug: Option<&'static str>,
    ) -> Self {
        let dir = parent.join(format!("node-{}", at + 1));
        fs::create_dir(&dir).expect("the member's folder");
        fs::write(dir.join("clock"), "+0\n").expect("write the clock's shift");
        let url = format!("http://{}:{CLIENT_PORT}", network.address(at));
        let founders: Vec<(u64, usize)> = (1..).zip(0..count).collect();
        let (id, _) = founders[at];
        let member = Self { at, id, url, lives: Arc::default(), bug, dir, process: None };
        member.configure(network, &founders, "new");
        member
    }

    /// Lets another member take its place, in a cluster of which `others` (their numbers and places) are up: with a
    /// number of its own, at the same address, with nothing on its disk. Does not start it.
    pub(crate) fn replace(&mut self, network: &Network, id: u64, others: &[(u64, usize)]) {
        self.kill();
        fs::remove_dir_all(self.dir.join("data")).expect("its data");
        self.id = id;
        self.configure(network, &[others, &[(id, self.at)]].concat(), "existing");
    }

    fn configure(&self, network: &Network, members: &[(u64, usize)], state: &str) {
        let peers: Vec<String> =
            members.iter().map(|(id, at)| format!("{id}: \"{}\"", peer(network, *at))).collect();
        let address = network.address(self.at);
        let config = format!(
            "node: {{id: {}, data_dir: {:?}, roles: [registry]}}\n\
             listen: {{client: \"{address}:{CLIENT_PORT}\", peer: \"{address}:{PEER_PORT}\", http: \"{address}:8480\"}}\n\
             registry: {{initial_cluster: {{{}}}, initial_cluster_state: {state}, log_entries_kept: {LOG_ENTRIES_KEPT}}}\n",
            self.id,
            self.dir.join("data"),
            peers.join(", ")
        );
        fs::write(self.dir.join("watchkeep.yaml"), config).expect("write the configuration");
    }

    /// Starts it, unless it runs.
    pub(crate) fn start(&mut self, network: &Network) {
        if self.process.is_some() {
            return;
        }
        let mut command = network.command(self.at, WATCHKEEP);
        command.args(["serve", "--until-stdin-closes", "--config"]);
        command.arg(self.dir.join("watchkeep.yaml")).current_dir(&self.dir);
        if let Some(library) = faketime() {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.dir.join("clock"));
            command.env("FAKETIME_NO_CACHE", "1");
            // The wall clock only, as when someone sets it: the monotonic clock never jumps.
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        if let Some(bug) = self.bug {
            command.env("WATCHKEEP_BUG", bug);
        }
        let name = format!("node-{}", self.at + 1);
        self.process = Some(Process::spawn(&name, command, &self.dir.join("log")));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
            self.lives.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// SIGSTOP or SIGCONT.
    pub(crate) fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            let id = process.id().to_string();
            let done = Command::new("kill").args([signal, &id]).status().expect("kill");
            assert!(done.success(), "kill {signal} {id}");
        }
    }

    /// Sets its wall clock off by so many seconds; false when there is no libfaketime to do it.
    pub(crate) fn shift_clock(&self, seconds: i64) -> bool {
        fs::write(self.dir.join("clock"), format!("{seconds:+}\n"))
            .expect("write the clock's shift");
        faketime().is_some()
    }

    /// What ended it, when it ended without being killed.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.ended()?;
        Some(format!("node-{} ended by itself: {status}", self.at + 1))
    }
}

/// Where the others find the member at this place: `10.…:2380`.
pub(crate) fn peer(network: &Network, at: usize) -> String {
    format!("{}:{PEER_PORT}", network.address(at))
}

/// libfaketime, wherever Debian puts it for this architecture.
fn faketime() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders
        .map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
}
