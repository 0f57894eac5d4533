//! What a runbook tells people to paste works: the commands of each page are run as they stand against a live cluster, after
//! the lines that the page itself says first.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use serde_json::json;

mod common;
use common::{
    Cluster, cluster::WATCHKEEP, eventually, http, mail::MailServer, nginx::Nginx,
    receiver::Receiver, wait::ensure,
};

const SOON: Duration = Duration::from_secs(90);
/// Programs that commands in blocks which are not run may begin with; `watchkeep` is judged by its own help.
const MACHINE: [&str; 6] = ["iostat", "pidstat", "fio", "etcdctl", "journalctl", "amtool"];
/// Commands in the text that only look, or put what nobody misses: they are run like those in blocks.
const INLINE: [&str; 5] =
    ["curl -s $NODE", "etcdctl get", "etcdctl put", "etcdctl endpoint", "etcdctl alarm list"];
/// The shell says so when a reader such as `head` has seen enough.
const SIGPIPE: i32 = 141;

/// A fenced block of a page.
struct Block {
    /// Why it is not run; none: it is.
    no_run: Option<String>,
    commands: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let parts = page.split("\n```sh").skip(1);
    parts
        .map(|part| {
            let (info, rest) = part.split_once('\n').expect("a fence's end of line");
            let commands = rest.split("\n```").next().expect("a fence's end").to_owned();
            let no_run = match info.trim() {
                "" => None,
                info => {
                    let reason = info.strip_prefix("no-run:").unwrap_or_else(|| panic!("{info}"));
                    assert!(reason.trim().len() > 10, "{info}: why?");
                    Some(reason.trim().to_owned())
                }
            };
            Block { no_run, commands }
        })
        .collect()
}

/// The code within the text, each in one line.
fn inline(page: &str) -> Vec<String> {
    let codes = page.split('`').skip(1).step_by(2);
    codes.map(|code| code.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn runbooks() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    let files = fs::read_dir(folder).expect("runbooks").map(|entry| entry.expect("a file").path());
    let pages = files.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("readable"))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_every_runbook_works_as_written() {
    let sink = Receiver::start().await;
    let dir = tempfile::TempDir::new().expect("temporary folder");
    let mail = MailServer::start(dir.path()).await;
    let nginx = Nginx::start(dir.path(), "web-1").await;
    let alerting = json!({
        "smtp": {"host": "127.0.0.1", "port": mail.port, "from": "watchkeep@example.org"},
        "people": [{"name": "alice", "email": "alice@example.org"}],
        "schedules": [{"name": "primary", "handoff": "0 0 9 * * Mon *", "start": "2026-01-05",
                       "rotation": ["alice"]}],
        "pages": {"schedule": "primary"},
        "heartbeats": [{"name": "nightly-backup", "interval_seconds": 86_400}],
        "shipped_rules": true,
        "failover": [{"name": "web", "when": {"service": "web"}, "callback": {"url": sink.url("/callback")}}],
    });
    let cluster = Cluster::start(3, &[("alerting", alerting)]).await;
    let node = &cluster.nodes[0];
    let instance = json!({
        "id": "web-1", "address": "127.0.0.1", "port": nginx.port, "ttl_seconds": 600,
        "checks": [{"name": "home", "interval_ms": 1000, "timeout_ms": 1000, "http": {}}],
    });
    node.register("web", &instance).await;
    node.verdict("web", "web-1", "passing", SOON).await;
    eventually("the service's report", SOON, async || http::get(&node.url("/v1/slo/web")).await)
        .await;
    let opened = http::post(
        &node.url("/v1/incidents"),
        &json!({"title": "by hand", "severity": "warning", "dedup_key": "runbooks"}),
    )
    .await
    .expect("an incident");
    let incident = opened["id"].as_str().expect("its id").to_owned();
    let values: BTreeMap<&str, String> = [
        ("ETCDCTL_ENDPOINTS", cluster.urls().join(",")),
        ("SERVICE", "web".to_owned()),
        ("INSTANCE", "web-1".to_owned()),
        ("TARGET", format!("127.0.0.1:{}", nginx.port)),
        ("INCIDENT", incident),
        ("HEARTBEAT", "nightly-backup".to_owned()),
        ("COLLECTOR", cluster.nodes[1].url("")),
        ("PEER", cluster.nodes[2].peer.clone()),
        ("MEMBER", "3".to_owned()),
        ("CALLBACK", sink.url("/callback")),
        ("WEBHOOK", sink.url("/webhook")),
        ("SMTP", format!("127.0.0.1:{}", mail.port)),
        ("RECEIVER", cluster.nodes[1].url("/api/v1/write")),
        ("DATA_DIR", node.dir.join("data").display().to_string()),
        ("RULES", format!("{}/alerting/rules/watchkeep.yml", env!("CARGO_MANIFEST_DIR"))),
    ]
    .into();
    let docs = include_str!("../docs/runbooks.md");
    for name in values.keys() {
        assert!(docs.contains(&format!("`${name}`")), "docs/runbooks.md lacks ${name}");
    }
    eventually("rules are evaluated", SOON, async || {
        let rules = http::get(&node.url("/api/v1/rules")).await?;
        let groups = rules["data"]["groups"].as_array().map_or(0, Vec::len);
        ensure(groups > 0, || rules.to_string())
    })
    .await;

    let (mut ran, mut wrong) = (0, Vec::new());
    for (name, page) in runbooks() {
        // What the page says to set first, with what a link to it would know; and none of it unknown.
        let known = values.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>();
        let url = node.url(&format!("/runbooks/{name}"));
        let served = http::text(http::client().get(&url).query(&known)).await.expect("served");
        let first = first(&served);
        assert!(first.starts_with("export "), "{name}: {first}");
        let blocks = blocks(&page).into_iter().filter(|block| block.no_run.is_none());
        let inline = inline(&page).into_iter().filter(|c| INLINE.iter().any(|i| c.starts_with(i)));
        for commands in blocks.map(|block| block.commands).chain(inline) {
            ran += 1;
            let output = bash(&format!("{first}\n{}", expected_to_fail(&commands)));
            if !matches!(output.status.code(), Some(0 | SIGPIPE)) {
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said).into_owned();
                wrong.push(format!("{name}: {}\n{commands}\n{said}", output.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
    assert!(ran >= runbooks().len(), "only {ran} blocks");
    eprintln!("{ran} blocks of commands in {} runbooks", runbooks().len());
}

/// The block that a served page begins its section `Check` with.
fn first(served: &str) -> String {
    let block = served.split("<pre><code class=\"language-sh\">").nth(1).expect("a block");
    let block = block.split("</code>").next().expect("its end");
    block.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"")
}

/// A command whose comment says that a refusal is to be expected may fail.
fn expected_to_fail(commands: &str) -> String {
    let line = |line: &str| match line.split_once("# ") {
        Some((command, comment)) if comment.contains("expect ") => format!("{command} || true"),
        _ => line.to_owned(),
    };
    commands.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Runs it as a person would who looks at what went wrong: an answer that is no success is a failure, and so is a pipe's.
fn bash(script: &str) -> Output {
    let path = Path::new(WATCHKEEP).parent().expect("a folder").display();
    let prelude = format!(
        "set -e -o pipefail\nexport PATH={path}:$PATH USER=alice\n\
         curl() {{ command curl --fail-with-body --show-error --max-time 20 \"$@\"; }}\n"
    );
    Command::new("bash").args(["-c", &format!("{prelude}{script}")]).output().expect("bash")
}

/// What is not run, and what stands in the text, names commands and flags that there are.
#[test]
fn commands_that_are_not_run_exist() {
    let mut judged = 0;
    for (name, page) in runbooks() {
        for block in blocks(&page).iter().filter(|block| block.no_run.is_some()) {
            for line in block.commands.lines() {
                let program = line.split_whitespace().next().unwrap_or_default();
                assert!(
                    program == "watchkeep" || MACHINE.contains(&program),
                    "{name}: {line}: what is {program}?"
                );
                judged += usize::from(program == "watchkeep");
                exists(&name, line);
            }
        }
        for code in inline(&page) {
            judged += usize::from(code.starts_with("watchkeep "));
            exists(&name, &code);
        }
    }
    assert!(judged > 10, "only {judged} commands");
}

/// If it is one of Watchkeep's own: its help knows it and its flags.
fn exists(page: &str, command: &str) {
    let Some(arguments) = command.strip_prefix("watchkeep ") else { return };
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    let words: Vec<&str> = arguments.split(" #").next().unwrap_or_default().split(' ').collect();
    let commands = words.iter().copied().take_while(|word| is_name(word) && !word.starts_with('-'));
    let output = Command::new(WATCHKEEP).args(commands).arg("--help").output().expect("watchkeep");
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{page}: {command}: there is no such command");
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        let flag = flag.split('=').next().unwrap_or_default();
        assert!(
            help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
            "{page}: {command}: no {flag}"
        );
    }
}
