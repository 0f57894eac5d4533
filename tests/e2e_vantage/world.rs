//! Nodes and a service, each in a network namespace of its own: one registry with alerting and three collectors, or three nodes
//! that are everything.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, time::Duration};

use serde_json::json;
use tempfile::TempDir;
use watchkeep_catalog::{Client, Opinion, Status, Verdict, keys};

use crate::{
    common::{cluster::WATCHKEEP, eventually, process::Process, wait::ensure},
    metric,
    network::Network,
};

/// Registry and alerting, where there is one of it.
const REGISTRY: usize = 0;
/// Nodes that are everything.
pub(crate) const THIRDS: [usize; 3] = [0, 1, 2];
/// Collectors.
pub(crate) const COLLECTORS: [usize; 3] = [1, 2, 3];
/// The service.
pub(crate) const TARGET: usize = 4;
pub(crate) const NAMESPACES: usize = 5;

const TARGET_PORT: u16 = 8000;
const SOON: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) network: Network,
    /// Asks all of the registry's members, or those that it is told to.
    pub(crate) client: Client,
    dir: TempDir,
    /// Where the registry's members are.
    members: Vec<usize>,
    nodes: BTreeMap<usize, Process>,
    target: Option<Process>,
}

impl World {
    /// A registry with alerting, and three collectors.
    pub(crate) fn of_collectors(network: Network) -> Self {
        let mut world = Self::empty(network, vec![REGISTRY]);
        world.configure(REGISTRY, "registry, alerting");
        COLLECTORS.iter().for_each(|at| world.configure(*at, "collector"));
        world.start_registry();
        COLLECTORS.iter().for_each(|at| world.start(*at));
        world
    }

    /// Three nodes with all roles.
    pub(crate) fn of_thirds(network: Network) -> Self {
        let mut world = Self::empty(network, THIRDS.to_vec());
        THIRDS.iter().for_each(|at| world.configure(*at, "registry, collector, alerting"));
        THIRDS.iter().for_each(|at| world.start(*at));
        world
    }

    fn empty(network: Network, members: Vec<usize>) -> Self {
        let dir = TempDir::with_prefix("watchkeep-vantage-").expect("a folder");
        let client = Self::client(&network, &members);
        let nodes = BTreeMap::new();
        let mut world = Self { network, client, dir, members, nodes, target: None };
        world.target = Some(world.serve());
        world
    }

    fn client(network: &Network, members: &[usize]) -> Client {
        let urls = members.iter().map(|at| format!("http://{}:2379", network.address(*at)));
        Client::new(&urls.collect::<Vec<_>>()).expect("a client")
    }

    /// From now on only these members are asked.
    pub(crate) fn ask(&mut self, members: &[usize]) {
        self.client = Self::client(&self.network, members);
    }

    fn configure(&self, at: usize, roles: &str) {
        let dir = self.dir.path().join(format!("node-{}", at + 1));
        fs::create_dir(&dir).expect("a folder");
        let (id, address) = (at + 1, self.network.address(at));
        let members = || self.members.iter().map(|at| (at + 1, self.network.address(*at)));
        let list = |each: Vec<String>| each.join(", ");
        let cluster = match self.members.contains(&at) {
            true => {
                let all = members().map(|(id, address)| format!("{id}: \"{address}:2380\""));
                format!("initial_cluster: {{{}}}, ", list(all.collect()))
            }
            false => String::new(),
        };
        let endpoints = members().map(|(_, address)| format!("\"http://{address}:2379\""));
        let config = format!(
            "node: {{id: {id}, zone: zone-{id}, data_dir: {:?}, roles: [{roles}]}}\n\
             listen: {{client: \"{address}:2379\", peer: \"{address}:2380\", http: \"{address}:8480\"}}\n\
             external_url: \"http://{address}:8480\"\n\
             registry: {{{cluster}endpoints: [{}]}}\n\
             collector: {{lease_ttl_seconds: 2}}\n",
            dir.join("data"),
            list(endpoints.collect())
        );
        fs::write(dir.join("watchkeep.yaml"), config).expect("write the configuration");
    }

    fn node(&self, at: usize) -> Process {
        let dir = self.dir.path().join(format!("node-{}", at + 1));
        let mut command = self.network.command(at, WATCHKEEP);
        command.args(["serve", "--until-stdin-closes", "--config"]);
        command.arg(dir.join("watchkeep.yaml")).current_dir(&dir);
        Process::spawn(&format!("node-{}", at + 1), command, &dir.join("log"))
    }

    /// nginx, in the target's namespace.
    fn serve(&self) -> Process {
        let dir = self.dir.path().join("nginx");
        fs::create_dir(&dir).expect("nginx's folder");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};", dir.display()))
            .join(" ");
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log; events {{}}\n\
             http {{ access_log off; {paths} server {{ listen {}:{TARGET_PORT}; location / {{ return 200 ok; }} }} }}\n",
            self.network.address(TARGET),
            dir = dir.display()
        );
        fs::write(dir.join("nginx.conf"), config).expect("nginx's configuration");
        let mut command = self.network.command(TARGET, "/usr/sbin/nginx");
        command.arg("-p").arg(&dir).arg("-c").arg(dir.join("nginx.conf"));
        command.arg("-e").arg(dir.join("error.log"));
        Process::spawn("nginx", command, &dir.join("log"))
    }

    fn start(&mut self, at: usize) {
        self.nodes.insert(at, self.node(at));
    }

    pub(crate) fn start_registry(&mut self) {
        self.start(REGISTRY);
    }

    /// SIGKILL.
    pub(crate) fn stop_registry(&mut self) {
        self.nodes.remove(&REGISTRY).expect("it runs").kill();
    }

    /// Cuts one of three nodes off from the other two, not from the service.
    pub(crate) fn split(&self, one: usize) {
        for other in THIRDS.into_iter().filter(|at| *at != one) {
            self.network.cut(one, other).expect("cut");
            self.network.cut(other, one).expect("cut");
        }
    }

    /// Which member leads the registry.
    pub(crate) async fn leader(&self) -> usize {
        eventually("a leader", SOON, async || {
            for at in &self.members {
                let url = format!("http://{}:2379/metrics", self.network.address(*at));
                if metric(&url, "etcd_server_is_leader").await == Ok(1.0) {
                    return Ok(*at);
                }
            }
            Err("nobody leads".to_owned())
        })
        .await
    }

    /// SIGKILL.
    pub(crate) fn stop_target(&mut self) {
        self.target.take().expect("it runs").kill();
    }

    /// Registers an instance at the target.
    pub(crate) async fn register(&self, service: &str, id: &str) {
        let address: Ipv4Addr = self.network.address(TARGET);
        let check = json!({"name": "http", "interval_ms": 200, "timeout_ms": 150, "http": {}});
        let instance = json!({
            "service": service, "id": id, "address": address.to_string(), "port": TARGET_PORT, "checks": [check],
        });
        let key = keys::instance(service, id);
        eventually("to register", SOON, async || {
            self.client.put_json(&key, &instance, 0).await.map_err(|e| e.to_string())
        })
        .await;
    }

    /// Waits until these are the opinions on an instance.
    pub(crate) async fn opinions(&self, id: &str, expected: &[Status]) {
        let prefix = format!("{}{id}/", keys::opinions_of("web"));
        eventually(&format!("opinions on {id}: {expected:?}"), SOON, async || {
            let (kvs, _) = self.client.list(&prefix).await.map_err(|e| e.to_string())?;
            let opinions = kvs.iter().map(|kv| kv.json::<Opinion>());
            let opinions: Vec<_> = opinions.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
            let mut found: Vec<_> = opinions.iter().map(|opinion| opinion.status).collect();
            found.sort();
            ensure(found == expected, || format!("{opinions:?}"))
        })
        .await;
    }

    /// Waits for the verdict on an instance of `web`.
    pub(crate) async fn verdict(&self, id: &str, status: Status) -> Verdict {
        self.verdict_on("web", id, status).await
    }

    async fn verdict_on(&self, service: &str, id: &str, status: Status) -> Verdict {
        let key = keys::verdict(service, id);
        eventually(&format!("verdict on {id}: {status:?}"), SOON, async || {
            let found = self.client.get(&key).await.map_err(|e| e.to_string())?;
            let verdict: Verdict =
                found.ok_or("there is none")?.json().map_err(|e| e.to_string())?;
            ensure(verdict.status == status, || format!("{verdict:?}"))?;
            Ok(verdict)
        })
        .await
    }

    /// Waits until alerting has decided on an instance that is registered only now: so it has seen all that was before. Of
    /// a service of its own: many that fail at once would be a panic.
    pub(crate) async fn has_decided(&self, marker: &str) {
        self.register("marker", marker).await;
        self.verdict_on("marker", marker, Status::Passing).await;
    }

    /// How many probes of a collector succeeded.
    pub(crate) async fn probes(&self, at: usize) -> f64 {
        let url = format!("http://{}:8480/metrics", self.network.address(at));
        let name = r#"watchkeep_collector_probes_total{kind="http",result="success"}"#;
        eventually("metrics", SOON, async || metric(&url, name).await).await
    }
}
