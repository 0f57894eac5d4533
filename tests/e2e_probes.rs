//! Probes in a network of their own: a name server that does not answer, and what ICMP is told on its way.
//!
//! Namespaces need root and `ip` (apt package iproute2); without them it is skipped with a message, and with `CI=true` it fails.

#![allow(clippy::print_stdout, reason = "says when it is skipped")]

#[allow(dead_code, reason = "the linearizability test uses more of it")]
#[path = "e2e_linearizability/network.rs"]
mod network;

use std::{
    fs, io,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use network::Network;

const WATCHKEEP: &str = env!("CARGO_BIN_EXE_watchkeep");

/// The prober, and a router.
const PROBER: usize = 0;
const ROUTER: usize = 1;
const TIMEOUT_MS: &str = "400";
/// A lookup alone takes the system five seconds; a machine that is busy needs some of its own.
const PATIENCE: Duration = Duration::from_secs(4);

/// `/etc/resolv.conf` of a namespace, as `ip netns exec` shows it there.
struct Resolver(PathBuf);

impl Resolver {
    fn create(space: &str, server: &str) -> io::Result<Self> {
        let folder = PathBuf::from("/etc/netns").join(space);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("resolv.conf"), format!("nameserver {server}\n"))?;
        Ok(Self(folder))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // It is gone already.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn probe(network: &Network, args: &[&str]) -> Command {
    let mut command = network.command(PROBER, WATCHKEEP);
    command.arg("probe").args(args).args(["--timeout-ms", TIMEOUT_MS]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    assert!(!output.status.success(), "it passes");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// Runs `ip` or another program in a namespace.
fn set(network: &Network, at: usize, words: &str) {
    let mut words = words.split(' ');
    let mut command = network.command(at, words.next().expect("a program"));
    let output = command.args(words).output().expect("ip runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One after the other: networks are named by the process.
#[test]
fn probes_in_a_network_of_their_own() {
    let network = match Network::create(2) {
        Ok(network) => network,
        Err(why) if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => return println!("skipped, no network namespaces: {why}"),
    };
    a_name_server_that_is_silent(&network);
    echoes_that_do_not_arrive(&network);
}

/// Whatever the kind: the phase is the one in which time ran out, and the probe ends then, not when the system gives up.
fn a_name_server_that_is_silent(network: &Network) {
    // Nobody has this address, and no packet comes back that says so in time.
    let silent = network.address(80).to_string();
    let _resolver = Resolver::create(&network.space(PROBER), &silent).expect("a resolver");
    let question = r#"{"query_name":"example","query_type":"A"}"#;
    let probes = [
        &["http", "http://silent.example/"][..],
        &["http", "https://silent.example/"],
        &["tcp", "silent.example:1"],
        &["tls", "silent.example:1"],
        &["websocket", "ws://silent.example/"],
        &["grpc", "silent.example:1"],
        &["dns", "silent.example", "--settings", question],
        &["icmp", "silent.example"],
        &["etcd", "silent.example"],
    ];
    let begun = Instant::now();
    let running: Vec<_> =
        probes.iter().map(|args| probe(network, args).spawn().expect("watchkeep runs")).collect();
    for (args, child) in probes.iter().zip(running) {
        let output = child.wait_with_output().expect("it ends");
        let reason = format!("resolve silent.example: no answer within {TIMEOUT_MS} ms");
        assert_eq!(said(&output), reason, "{args:?}");
    }
    assert!(begun.elapsed() < PATIENCE, "they took {:?}", begun.elapsed());
}

fn echoes_that_do_not_arrive(network: &Network) {
    let router = network.address(ROUTER);
    set(network, ROUTER, "sysctl -qw net.ipv4.ip_forward=1");
    // Behind the router: a network, in which nobody is but itself, and one to which it knows no way.
    set(network, ROUTER, "ip link add behind type bridge");
    set(network, ROUTER, "ip addr add 203.0.113.1/24 dev behind");
    set(network, ROUTER, "ip link set behind up");
    set(network, ROUTER, "ip route add unreachable 198.51.100.0/24");
    for range in ["203.0.113.0/24", "198.51.100.0/24"] {
        set(network, PROBER, &format!("ip route add {range} via {router}"));
    }
    set(network, PROBER, "ip route add unreachable 192.0.2.0/24");
    let one_hop = r#"{"ttl":1}"#;
    let far = probe(network, &["icmp", "203.0.113.1", "--settings", r#"{"ttl":9}"#]).output();
    let far = far.expect("it runs");
    assert!(far.status.success(), "{}", String::from_utf8_lossy(&far.stderr));
    for (args, reason) in [
        // The router says that the time is exceeded: no reply, whoever says so.
        (&["icmp", "203.0.113.9", "--settings", one_hop][..], "no answer within 400 ms"),
        (&["icmp", "198.51.100.7"], "no answer within 400 ms"),
        // Nothing can be sent at all: it need not be waited for.
        (&["icmp", "192.0.2.7"], "no socket for ICMP to 192.0.2.7: no route to host"),
        (&["tcp", "192.0.2.7:80"], "connect to 192.0.2.7:80: no route to host"),
        (&["tcp", "198.51.100.7:80"], "connect to 198.51.100.7:80: no route to host"),
    ] {
        let begun = Instant::now();
        let output = probe(network, args).output().expect("it runs");
        assert_eq!(said(&output), reason, "{args:?}");
        assert!(begun.elapsed() < PATIENCE, "{args:?} took {:?}", begun.elapsed());
    }
}
