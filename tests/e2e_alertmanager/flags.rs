//! Every flag that Alertmanager says it has is taken, or refused in our own words with what to do instead.

use std::{fs, process::Command};

use crate::common::cluster::WATCHKEEP;

/// Each flag as it could stand in a unit file; where its help shows no value it has none.
fn flags() -> Vec<String> {
    let help = Command::new("prometheus-alertmanager").arg("--help").output().expect("it runs");
    let help = [help.stdout, help.stderr].concat();
    let help = String::from_utf8(help).expect("text");
    let mut flags = Vec::new();
    for line in help.lines().filter_map(|line| line.strip_prefix("      --")) {
        let flag = line.split_whitespace().next().expect("a name");
        let said = match flag.split_once('=') {
            None => format!("--{flag}"),
            Some(("config.file", _)) => "--config.file=absent.yml".to_owned(),
            Some((name, value)) => match value.trim_matches('"') {
                "WEB.EXTERNAL-URL" => format!("--{name}=http://alerts.example.org"),
                "WEB.ROUTE-PREFIX" => format!("--{name}=/"),
                value => format!("--{name}={value}"),
            },
        };
        flags.push(said);
    }
    flags
}

/// What is said to these flags. The configuration names a file that is not there, so nothing is ever started.
fn said(flags: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a folder");
    let config = "alerting: {alertmanager_config: absent.yml}\n";
    fs::write(dir.path().join("watchkeep.yaml"), config).expect("written");
    let mut command = Command::new(WATCHKEEP);
    command.current_dir(dir.path()).args(["serve", "--config=watchkeep.yaml"]).args(flags);
    let output = command.output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn every_flag_of_alertmanager_is_taken_or_refused_with_a_remedy() {
    let flags = flags();
    assert!(flags.len() > 25, "{flags:?}");
    for flag in flags.iter().filter(|flag| *flag != "--version") {
        let said = said(&[flag]);
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains("absent.yml")).collect();
        let expected: Option<&[&str]> = match flag.split('=').next().unwrap_or_default() {
            "--web.systemd-socket" => {
                Some(&["--web.systemd-socket: ", "--web.listen-address=:9093"])
            }
            _ => None,
        };
        match expected {
            Some(parts) => {
                for part in parts {
                    assert!(said.contains(part), "{flag}: {said}");
                }
            }
            None => assert!(lines.is_empty() && said.contains("absent.yml"), "{flag}: {said}"),
        }
        assert!(!said.contains("unexpected argument"), "{flag}: {said}");
    }
}

#[test]
fn one_listen_address_by_name_and_not_two() {
    let taken = said(&["--web.listen-address=localhost:9093"]);
    assert_eq!(taken.lines().count(), 1, "{taken}");
    let refused = said(&["--web.listen-address=localhost:9093", "--web.listen-address=:9094"]);
    let expected = "--web.listen-address: 127.0.0.1:9093 and 0.0.0.0:9094 are given, and a node listens on one: name one \
                    of them, or :PORT for all addresses of this machine";
    assert!(refused.contains(expected), "{refused}");
    let refused = said(&["--web.listen-address=nowhere.invalid:9093"]);
    assert!(refused.contains("name an address of this machine"), "{refused}");
}
