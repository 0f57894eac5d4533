//! One Watchkeep node as a real process, with a generated configuration and a folder of its own.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};

use super::{eventually, http, ports, process::Process, wait::ensure};

/// The program under test.
pub const WATCHKEEP: &str = env!("CARGO_BIN_EXE_watchkeep");
/// A node that has not come up by then will not.
pub const START: Duration = Duration::from_secs(30);

/// A section of the configuration and its value, such as `("slo", json!({…}))`.
pub type Section<'a> = (&'a str, Value);

/// One node.
pub struct Node {
    /// From 1.
    pub id: usize,
    /// `node-1`, `node-2`, …
    pub name: String,
    /// Of the etcd API, `127.0.0.1:port`.
    pub client: String,
    /// Of the registry that it uses: its own, or another's.
    pub registry: String,
    /// Of Raft.
    pub peer: String,
    /// Of the console and the HTTP APIs.
    pub http: String,
    /// Where it keeps its data, its configuration and its log.
    pub dir: PathBuf,
    roles: String,
    process: Option<Process>,
}

impl Node {
    pub(super) fn layout(id: usize, roles: &str, cluster: &Path) -> Self {
        let dir = cluster.join(format!("node-{id}"));
        fs::create_dir(&dir).expect("node's folder");
        let address = || format!("127.0.0.1:{}", ports::free());
        let client = address();
        Self {
            id,
            name: format!("node-{id}"),
            registry: client.clone(),
            client,
            peer: address(),
            http: address(),
            dir,
            roles: roles.to_owned(),
            process: None,
        }
    }

    /// Puts `fields` into the section `registry` of its configuration.
    pub fn set_registry(&self, fields: &str) {
        let text = fs::read_to_string(self.config()).expect("configuration");
        let text = text.replacen("registry: {", &format!("registry: {{{fields}, "), 1);
        fs::write(self.config(), text).expect("write configuration");
    }

    /// Gives it another peer address.
    pub fn move_peer(&mut self) {
        let peer = format!("127.0.0.1:{}", ports::free());
        let text = fs::read_to_string(self.config()).expect("configuration");
        fs::write(self.config(), text.replace(&self.peer, &peer)).expect("write configuration");
        self.peer = peer;
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("watchkeep.yaml")
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The URL of a path of its HTTP API.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    pub(super) fn configuration(&self, members: &[&Node], sections: &[Section<'_>]) -> String {
        let (data, roles) = (self.data(), &self.roles);
        let peers: Vec<String> =
            members.iter().map(|node| format!("{}: \"{}\"", node.id, node.peer)).collect();
        // Its own registry first, if it has one.
        let own = members.iter().filter(|node| node.id == self.id);
        let others = members.iter().filter(|node| node.id != self.id);
        let endpoints = own.chain(others).map(|node| format!("\"http://{}\"", node.client));
        let mut endpoints: Vec<String> = endpoints.collect();
        if members.is_empty() {
            endpoints.push(format!("\"http://{}\"", self.registry));
        }
        let mut text = format!(
            "node: {{id: {}, name: {}, data_dir: {data:?}, roles: [{roles}]}}\n\
             listen: {{client: \"{}\", peer: \"{}\", http: \"{}\"}}\n\
             external_url: \"http://{}\"\n",
            self.id, self.name, self.client, self.peer, self.http, self.http
        );
        let endpoints = endpoints.join(", ");
        let cluster = if self.has_registry() {
            format!("initial_cluster: {{{}}}, ", peers.join(", "))
        } else {
            String::new()
        };
        // Settings of the section `registry` go beside those that make the cluster.
        let own = sections.iter().filter(|(name, _)| *name == "registry");
        let own = own.filter_map(|(_, value)| value.as_object()).flatten();
        let own: String = own.map(|(name, value)| format!("{name}: {value}, ")).collect();
        let _ = writeln!(text, "registry: {{{cluster}{own}endpoints: [{endpoints}]}}");
        let mut alerting = json!({});
        for (name, value) in sections.iter().filter(|(name, _)| *name != "registry") {
            match *name {
                "alerting" => alerting = value.clone(),
                name => drop(writeln!(text, "{name}: {value}")),
            }
        }
        // Rules about Watchkeep itself would open incidents that a test does not ask for.
        if alerting["shipped_rules"].is_null() {
            alerting["shipped_rules"] = json!(false);
        }
        let _ = writeln!(text, "alerting: {alerting}");
        text
    }

    /// Where a test names the point at which the next node that comes by ends.
    pub fn faults(&self) -> PathBuf {
        self.dir.parent().unwrap_or(&self.dir).join("faults")
    }

    /// Where it keeps its data.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Whether its process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_some())
    }

    /// Starts it.
    pub fn start(&mut self) {
        assert!(!self.is_running(), "{} runs already", self.name);
        let mut command = Command::new(WATCHKEEP);
        command.args(["serve", "--until-stdin-closes", "--config"]).arg(self.config());
        command.current_dir(&self.dir).env("WATCHKEEP_FAULT_POINTS", self.faults());
        self.process = Some(Process::spawn(&self.name, command, &self.log()));
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Whether it was started and not killed.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn has_registry(&self) -> bool {
        self.roles.contains("registry")
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the node runs")
    }

    /// Waits until it answers a linearizable read and its HTTP API.
    pub async fn ready(&mut self) {
        let deadline = std::time::Instant::now() + START;
        loop {
            if let Some(status) = self.process().ended() {
                panic!("{} ended: {status}", self.name);
            }
            let ready = async {
                http::text(http::client().get(self.url("/healthz"))).await?;
                if self.has_registry() {
                    self.v3("kv/range", &json!({"key": encode("ready?")})).await?;
                }
                Ok::<(), String>(())
            };
            match ready.await {
                Ok(()) => return,
                Err(why) => assert!(
                    std::time::Instant::now() < deadline,
                    "{} not ready within {START:?}: {why}",
                    self.name
                ),
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until it answers its HTTP API, whatever its registry says to a caller without a name.
    pub async fn ready_http(&self) {
        eventually("its HTTP API", START, async || {
            http::text(http::client().get(self.url("/healthz"))).await
        })
        .await;
    }

    /// A call of its registry's API in JSON: `v3("kv/range", …)`.
    ///
    /// # Errors
    /// When nobody answers or the answer is an error.
    pub async fn v3(&self, call: &str, body: &Value) -> Result<Value, String> {
        http::post(&format!("http://{}/v3/{call}", self.registry), body).await
    }

    /// Reads a JSON record from the registry, linearizably.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn get(&self, key: &str) -> Result<Option<Value>, String> {
        let answer = self.v3("kv/range", &json!({"key": encode(key)})).await?;
        let value = answer["kvs"][0]["value"].as_str().map(decode);
        value.map(|text| serde_json::from_slice(&text).map_err(|e| e.to_string())).transpose()
    }

    /// Every record under a prefix.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Value>, String> {
        let kvs = self.kvs(prefix, false).await?;
        Ok(kvs.iter().filter_map(|(_, value)| serde_json::from_slice(value).ok()).collect())
    }

    /// Every key under a prefix and the number that is its value, as this node itself has them: nobody else is asked.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn numbers(&self, prefix: &str) -> Result<BTreeMap<String, usize>, String> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let kvs = self.kvs(prefix, true).await?.into_iter();
        Ok(kvs.map(|(key, value)| (text(key), text(value).parse().expect("a number"))).collect())
    }

    /// Keys under a prefix and their values.
    async fn kvs(
        &self,
        prefix: &str,
        serializable: bool,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("a prefix") += 1;
        let end = String::from_utf8(end).expect("ASCII");
        let range = json!({
            "key": encode(prefix), "range_end": encode(&end), "serializable": serializable,
        });
        let answer = self.v3("kv/range", &range).await?;
        let kvs = answer["kvs"].as_array().cloned().unwrap_or_default();
        let bytes = |value: &Value| decode(value.as_str().unwrap_or_default());
        Ok(kvs.iter().map(|kv| (bytes(&kv["key"]), bytes(&kv["value"]))).collect())
    }

    /// Registers an instance through the HTTP API, again until there is a leader to take it.
    pub async fn register(&self, service: &str, instance: &Value) {
        let url = self.url(&format!("/v1/services/{service}/instances"));
        let answer = eventually("register", START, async || http::post(&url, instance).await).await;
        assert!(answer["revision"].as_i64() > Some(0), "{answer}");
    }

    /// Waits for the verdict on an instance.
    pub async fn verdict(
        &self,
        service: &str,
        instance: &str,
        status: &str,
        within: Duration,
    ) -> Value {
        let key = format!("/watchkeep/verdicts/{service}/{instance}");
        eventually(&format!("verdict on {service}/{instance}: {status}"), within, async || {
            let verdict = self.get(&key).await?.unwrap_or_default();
            ensure(verdict["status"] == status, || format!("it is {verdict}"))?;
            Ok(verdict)
        })
        .await
    }
}

/// Base64, as the JSON form of the etcd API carries bytes.
pub fn encode(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// Back from base64.
pub fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}
