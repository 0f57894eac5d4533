//! Unit tests of rules, from simple to nasty: `promtool test rules` and `watchkeep rules test` say the same of each file.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::cluster::WATCHKEEP;

/// Whether a program says that a file's tests pass, and what it says.
fn verdict(program: &str, args: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new(program)
        .args(args)
        .arg(file.file_name().expect("a file"))
        .current_dir(file.parent().expect("a folder"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The unit-test files below a folder.
fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(folder).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_test = |path: &PathBuf| path.to_string_lossy().ends_with(".test.yml");
    let mut files: Vec<_> = paths.filter(is_test).collect();
    files.sort();
    files
}

#[test]
fn both_tools_say_the_same() {
    let files = [files("tests/data/rules"), files("alerting/rules")].concat();
    assert!(files.len() >= 25, "{files:?}");
    let mut apart = Vec::new();
    for file in &files {
        let expected = !file.to_string_lossy().contains(".fails.");
        let (promtool, theirs) = verdict("promtool", &["test", "rules"], file);
        let (own, ours) = verdict(WATCHKEEP, &["rules", "test"], file);
        if (promtool, own) != (expected, expected) {
            apart.push(format!("{}\npromtool: {theirs}\nwatchkeep: {ours}", file.display()));
        }
    }
    assert!(apart.is_empty(), "{}", apart.join("\n"));
}

#[test]
fn checks_name_file_and_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rules");
    let (right, said) = verdict(WATCHKEEP, &["rules", "check"], &folder.join("01-up.rules.yml"));
    assert!(right, "{said}");
    let (right, said) =
        verdict(WATCHKEEP, &["rules", "check"], &folder.join("13-broken.rules.yml"));
    assert!(!right && said.starts_with("13-broken.rules.yml:5: expr: "), "{said}");
}

/// What promtool of Prometheus 2.42 does not know. Experimental functions are refused until somebody switches them on.
#[test]
fn newer_tests_and_features() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/rules3");
    let config = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&config, "query: {experimental: true}\n").expect("a configuration");
    let config = format!("--config={}", config.path().display());
    let feature = "--enable-feature=promql-experimental-functions";
    for command in ["check", "test"] {
        let file = folder.join(if command == "check" {
            "01-later.rules.yml"
        } else {
            "01-later.test.yml"
        });
        let (right, said) = verdict(WATCHKEEP, &["rules", command], &file);
        assert!(!right && said.contains("01-later.rules.yml:9: expr: "), "{said}");
        assert!(said.contains("set query.experimental to use it"), "{said}");
        for flag in [feature, config.as_str()] {
            let (right, said) = verdict(WATCHKEEP, &["rules", command, flag], &file);
            assert!(right, "{flag}: {said}");
        }
    }
}
