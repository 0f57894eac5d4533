//! The HTTP listener with TLS and users, as a web configuration file of exporter-toolkit's says it: who gets in (curl, amtool, our
//! own commands, the other nodes, a link from a mail) and who does not; and what changes without a restart.

use std::{process::Command, time::Duration};

use serde_json::json;

#[path = "../common/mod.rs"]
mod common;
mod setting;

use common::{
    Node,
    cluster::{START, WATCHKEEP},
    eventually,
    pki::{Authority, Pair},
    wait::ensure,
};
use setting::{Setting, command, curl, is, link, log, path, text};

const SOON: Duration = Duration::from_secs(20);

async fn up(setting: &Setting, node: &Node, more: &[&str]) {
    eventually("the node serves", START, async || {
        let answer = setting.curl(node, "/readyz", more)?;
        ensure(is(&answer, 200), || answer.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_in_and_who_does_not() {
    let setting = Setting::new(&json!({}));
    let cluster = setting.layout(&["registry, collector, alerting", "collector, alerting"]);
    let node = &cluster.nodes[0];
    for node in &cluster.nodes {
        up(&setting, node, &[]).await;
    }

    let answer = setting.ask(node, "/v1/services", &[]).expect("an answer");
    assert!(answer.starts_with("HTTP/2 200"), "{answer}");
    assert!(answer.to_lowercase().contains("x-frame-options: sameorigin"), "{answer}");
    let answer = setting.ask(node, "/v1/services", &["--http1.1"]).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let nobody: &[&str] = &[];
    for user in [nobody, &["-u", "alice:wrong"], &["-u", "mallory:secret"]] {
        for path in ["/", "/v1/services", "/metrics", "/nowhere", "/v1/links", "/healthz/"] {
            let answer = setting.curl(node, path, user).expect("an answer");
            assert!(is(&answer, 401), "{user:?} {path}: {answer}");
            assert!(answer.to_lowercase().contains("www-authenticate: basic "), "{answer}");
        }
    }
    for path in ["/healthz", "/readyz", "/-/healthy", "/-/ready"] {
        let answer = setting.curl(node, path, &[]).expect("an answer");
        assert!(is(&answer, 200), "{path}: {answer}");
    }
    let plain = curl(&[&format!("http://{}/healthz", node.http)]).expect("an answer");
    assert!(is(&plain, 400) && plain.contains("to an HTTPS server"), "{plain}");
    let metrics = setting.ask(node, "/metrics", &[]).expect("metrics");
    for series in [
        "watchkeep_http_logins_refused_total{reason=\"missing\"} 6\n",
        "watchkeep_http_logins_refused_total{reason=\"wrong\"} 12\n",
        "watchkeep_http_tls_certificate_expiry_timestamp_seconds{listener=\"http\"} ",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
    assert!(!metrics.contains("watchkeep_http_tls_connections_refused_total 0\n"), "{metrics}");

    // Each node is scraped by one collector, and both have the samples of both.
    for node in &cluster.nodes {
        eventually("both nodes get in at each other", SOON * 2, async || {
            let query = "query=count(up{job=\"watchkeep\"} == 1)";
            let answer = setting.json(node, "/api/v1/query", &["-G", "--data-urlencode", query])?;
            let value = &answer["data"]["result"][0]["value"][1];
            ensure(value == "2", || format!("{answer}\n{}", log(node)))
        })
        .await;
    }
    watched(&setting, node, 2).await;
    streams(&setting, node);

    commands(&setting, node).await;
    amtool(&setting, node).await;
}

/// Whether the nodes are healthy instances of their own service.
async fn watched(setting: &Setting, node: &Node, nodes: usize) {
    eventually("they are healthy", SOON, async || {
        let path = "/v1/services/watchkeep/instances?healthy=true";
        let answer = setting.json(node, path, &[])?;
        let passing = answer["instances"]
            .as_array()
            .map_or(0, |all| all.iter().filter(|instance| instance["status"] == "passing").count());
        ensure(passing == nodes, || answer.to_string())
    })
    .await;
}

/// Events go on coming, with either version of HTTP.
fn streams(setting: &Setting, node: &Node) {
    for version in ["--http2", "--http1.1"] {
        let flags = [version, "-N", "--max-time", "2", "-H", "Accept: text/event-stream"];
        let said = setting.ask(node, "/v1/services", &flags).expect_err("it has no end");
        assert!(said.contains("event: snapshot\n"), "{version}: {said}");
    }
}

/// Our own commands, and a link that such an incident's mail could have.
async fn commands(setting: &Setting, node: &Node) {
    let id = eventually("an incident opens", SOON, async || {
        let output =
            setting.command(node, &["incident", "open", "cellar under water", "--by", "alice"]);
        ensure(output.status.success(), || text(&output.stderr))?;
        Ok(text(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned())
    })
    .await;
    let listed = setting.command(node, &["incident", "list"]);
    let said = text(&listed.stdout);
    assert!(said.contains(&id) && said.contains("cellar under water"), "{said}");
    for (flags, words) in [
        (vec![], "say with --cacert FILE which authority its certificate comes from"),
        (vec!["--cacert", "CA"], "say who you are with --http-user NAME"),
        (vec!["--cacert", "CA", "--http-user", "alice:secret"], "a name has no colon"),
        (vec!["--cacert", "CA", "--http-user", "alice"], "set WATCHKEEP_HTTP_PASSWORD"),
        (vec!["--cacert", "absent.pem"], "--cacert absent.pem: No such file"),
    ] {
        let ca = path(&setting.authority.file);
        let flags = flags.into_iter().map(|flag| if flag == "CA" { ca.as_str() } else { flag });
        let output = command(node, &["incident", "list"]).args(flags).output().expect("watchkeep");
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(words), "{said}");
    }
    let ca = path(&setting.authority.file);
    let output = command(node, &["incident", "list", "--cacert", &ca, "--http-user", "alice"])
        .env("WATCHKEEP_HTTP_PASSWORD", "secret")
        .output()
        .expect("watchkeep");
    assert!(output.status.success(), "{}", text(&output.stderr));

    let link = link(&id);
    let page = setting.curl(node, &link, &[]).expect("a page");
    assert!(is(&page, 200) && page.contains("Acknowledge as alice"), "{page}");
    let pressed = setting.curl(node, &link, &["-X", "POST"]).expect("a page");
    assert!(is(&pressed, 200) && pressed.contains("alice has taken it."), "{pressed}");
    let forged = setting.curl(node, &link.replace("acknowledge", "resolve"), &[]).expect("a page");
    assert!(!is(&forged, 200) && !is(&forged, 401), "{forged}");
}

/// Alertmanager's own client.
async fn amtool(setting: &Setting, node: &Node) {
    let access = json!({
        "tls_config": {"ca_file": setting.authority.file},
        "basic_auth": {"username": "alice", "password": "secret"},
    });
    let access = setting.write("amtool.yml", &access.to_string());
    let amtool = |args: &[&str]| {
        let mut command = Command::new("amtool");
        command.arg(format!("--alertmanager.url=https://{}", node.http)).args(args);
        command.output().unwrap_or_else(|e| panic!("amtool: {e}; `cargo xtask peers` installs it"))
    };
    let access = format!("--http.config.file={}", access.display());
    eventually("amtool adds an alert", SOON, async || {
        let output = amtool(&[&access, "alert", "add", "alertname=Leak", "site=eu-1"]);
        ensure(output.status.success(), || text(&output.stderr))?;
        let output = amtool(&[&access, "alert", "query", "alertname=Leak"]);
        ensure(text(&output.stdout).contains("Leak"), || text(&output.stdout))
    })
    .await;
    assert!(!amtool(&["alert", "query"]).status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_users_change_while_it_runs() {
    let setting = Setting::new(&json!({}));
    let cluster = setting.layout(&["registry, collector, alerting"]);
    let node = &cluster.nodes[0];
    up(&setting, node, &[]).await;

    // Another authority's certificate: who trusts the first alone gets in no more.
    let other = Authority::new(setting.dir.path(), "other-ca");
    other.issue(setting.dir.path(), "server", &["127.0.0.1"]);
    let url = format!("https://{}/healthz", node.http);
    let ca = path(&other.file);
    eventually("the new certificate is shown", SOON, async || {
        let answer = curl(&["--cacert", &ca, &url])?;
        ensure(is(&answer, 200), || answer.clone())
    })
    .await;
    let refused = setting.curl(node, "/healthz", &[]).expect_err("another authority");
    assert!(refused.contains("certificate"), "{refused}");
    setting.authority.issue(setting.dir.path(), "server", &["127.0.0.1"]);
    up(&setting, node, &[]).await;

    // A user less.
    assert!(is(&setting.ask(node, "/v1/services", &[]).expect("an answer"), 200));
    setting.demand(&json!({}), &["bob", "watchkeep"]);
    eventually("alice is nobody any more", SOON, async || {
        let answer = setting.ask(node, "/v1/services", &[])?;
        ensure(is(&answer, 401), || answer.clone())
    })
    .await;
    let bob = ["-u", "bob:secret"];
    assert!(is(&setting.curl(node, "/v1/services", &bob).expect("an answer"), 200));

    // What is of no use changes nothing.
    setting.demand(&json!({"min_version": "TLS10"}), &["alice"]);
    eventually("it is refused", SOON, async || {
        ensure(log(node).contains("tls_server_config.min_version: TLS10 is not spoken"), || {
            log(node)
        })
    })
    .await;
    let metrics = setting.curl(node, "/metrics", &bob).expect("an answer");
    assert!(!metrics.contains("web_config_reloads_total{result=\"refused\"} 0\n"), "{metrics}");
    setting.write("web.yml", "basic_auth_users: {}\n");
    eventually("TLS cannot be switched off", SOON, async || {
        ensure(log(node).contains("switched on and off by a restart alone"), || log(node))
    })
    .await;
    assert!(is(&setting.curl(node, "/v1/services", &bob).expect("an answer"), 200));
    setting.demand(&json!({}), &["alice"]);
    eventually("alice is back", SOON, async || {
        let answer = setting.ask(node, "/v1/services", &[])?;
        ensure(is(&answer, 200), || answer.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_nothing_but_the_file_is_well_to_itself() {
    let setting = Setting::new(&json!({}));
    let cluster = setting.layout_with(&["registry, collector, alerting"], json!({}));
    up(&setting, &cluster.nodes[0], &[]).await;
    watched(&setting, &cluster.nodes[0], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_demanded_of_who_comes() {
    let setting = Setting::new(&json!({
        "client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": "ca.pem",
        "client_allowed_sans": ["client.example.org"],
    }));
    let cluster = setting.layout(&["registry, collector, alerting"]);
    let node = &cluster.nodes[0];
    let shown =
        |pair: &Pair| ["--cert".to_owned(), path(&pair.cert), "--key".to_owned(), path(&pair.key)];
    let good = shown(&setting.client);
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    up(&setting, node, &good).await;

    let elsewhere = setting.authority.issue(setting.dir.path(), "elsewhere", &["x.example.org"]);
    let elsewhere = shown(&elsewhere);
    let elsewhere: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
    let nothing: &[&str] = &[];
    for (flags, words) in [
        (nothing, "tls_server_config.client_auth_type demands one"),
        (&elsewhere[..], "the certificate shown has none of the names that are let in"),
    ] {
        setting.curl(node, "/healthz", flags).expect_err("it is not let in");
        eventually("the log says why", SOON, async || {
            ensure(log(node).contains(words), || log(node))
        })
        .await;
    }
    let flags = [&["incident", "list"][..], &good[..]].concat();
    let output = setting.command(node, &flags);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = setting.command(node, &["incident", "list"]);
    assert!(!output.status.success(), "{}", text(&output.stdout));

    // The node watches itself by connecting, and scrapes itself with the certificate that it has.
    eventually("the node gets in at itself", SOON, async || {
        let more = [&good[..], &["-G", "--data-urlencode", "query=up{job=\"watchkeep\"} == 1"][..]];
        let answer = setting.json(node, "/api/v1/query", &more.concat())?;
        ensure(!answer["data"]["result"][0].is_null(), || format!("{answer}\n{}", log(node)))?;
        let path = "/v1/services/watchkeep/instances?healthy=true";
        let answer = setting.json(node, path, &good)?;
        ensure(answer["instances"][0]["status"] == "passing", || answer.to_string())
    })
    .await;
}

#[test]
fn a_wrong_file_is_refused_before_anything_starts() {
    let setting = Setting::new(&json!({}));
    let web = setting.write(
        "wrong.yml",
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server-key.pem\n  cipher_suites:\n    \
         - TLS_RSA_WITH_AES_128_CBC_SHA\nbasic_auth_users:\n  alice: secret\n",
    );
    setting.write("watchkeep.yaml", &format!("listen: {{http_web_config: {:?}}}\n", path(&web)));
    let flag = format!("--web.config.file={}", web.display());
    for args in [
        &["check"][..],
        &["serve", "--config", "watchkeep.yaml"],
        &["serve", "--roles", "alerting", &flag],
    ] {
        let mut command = Command::new(WATCHKEEP);
        let output =
            command.args(args).current_dir(setting.dir.path()).output().expect("watchkeep");
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{args:?}: {said}");
        for words in [
            "wrong.yml:5: tls_server_config.cipher_suites[0]: \"TLS_RSA_WITH_AES_128_CBC_SHA\" is not spoken here",
            "wrong.yml:7: basic_auth_users.alice: this is no hash of bcrypt's",
        ] {
            assert!(said.contains(words), "{args:?}: {said}");
        }
    }
}
