//! Real scripts, well behaved and not.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::super::rig::{LONG_MS, SHORT_MS, prober_at};
use crate::probe::{Context, Files, Outcome, Policy, Rooms};

fn context(folder: Option<&Path>) -> Arc<Context> {
    let rooms = Rooms { scripts: folder.map(Path::to_owned), ..Rooms::default() };
    Context::within(Policy::default(), Files::None, rooms).expect("roots")
}

/// A folder with one script, `check`.
fn folder(body: &str) -> TempDir {
    let dir = tempfile::tempdir().expect("tempdir");
    put(&dir.path().join("check"), &format!("#!/bin/sh\n{body}\n"));
    dir
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("writes");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
}

async fn run(dir: &TempDir, timeout_ms: u64, more: &str) -> Outcome {
    let kind = format!(r#""script":{{"command":"check"{more}}}"#);
    let prober = prober_at("10.0.0.7", 80, timeout_ms, &kind, &context(Some(dir.path())));
    prober.expect("a good check").run().await
}

#[tokio::test]
async fn exit_codes_as_nagios_has_them() {
    for (body, more, good, reason) in [
        ("echo 'DISK OK - 80% free|/=512MB'", "", true, "ok: DISK OK - 80% free"),
        ("exit 0", "", true, "ok"),
        ("echo so so; exit 1", "", true, "warning: so so"),
        ("echo so so; exit 1", r#","warning_fails":true"#, false, "warning: so so"),
        ("echo full; exit 2", "", false, "critical: full"),
        ("exit 3", "", false, "unknown"),
        ("exit 77", "", false, "exit code 77, expected 0 to 3"),
        ("kill -9 $$", "", false, "killed by a signal (signal: 9 (SIGKILL))"),
        (
            "echo \"$1 $2; $(echo '$HOME')\"",
            r#","args":["$ADDRESS$:$PORT$","; rm *"]"#,
            true,
            "ok: 10.0.0.7:80 ; rm *; $HOME",
        ),
        (
            "env | sort | tr '\\n' ' '",
            r#","env":{"A":"1"}"#,
            true,
            "ok: A=1 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PWD=DIR",
        ),
        ("cat", "", true, "ok"),
    ] {
        let dir = folder(body);
        let outcome = run(&dir, LONG_MS, more).await;
        let real = dir.path().canonicalize().expect("a path").display().to_string();
        let said = outcome.reason.replace(&real, "DIR").replace(" _=/usr/bin/env", "");
        assert_eq!((outcome.good, said.trim_end()), (good, reason), "{body}");
    }
    let dir = folder("echo 'OK|time=12ms load=1.5 n=7c'; exit 1");
    let outcome = run(&dir, LONG_MS, "").await;
    assert_eq!(outcome.fact("probe_script_exit_code", &[]), Some(1.0));
    assert_eq!(outcome.fact("probe_script_perfdata", &["time", "seconds"]), Some(0.012));
    assert_eq!(outcome.fact("probe_script_perfdata", &["load", ""]), Some(1.5));
    assert_eq!(outcome.fact("probe_script_perfdata", &["n", "total"]), Some(7.0));
}

#[tokio::test]
async fn limits() {
    let dir =
        folder("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
    let outcome = run(&dir, LONG_MS, "").await;
    assert_eq!((outcome.good, outcome.reason.as_str()), (false, "it prints more than 65536 bytes"));

    // What a script has started ends with it.
    let dir = folder("sleep 1000 & echo $! > pid; wait");
    let outcome = run(&dir, SHORT_MS * 5, "").await;
    assert_eq!((outcome.good, outcome.reason.as_str()), (false, "no answer within 1000 ms"));
    let pid = fs::read_to_string(dir.path().join("pid")).expect("it was started");
    let status = format!("/proc/{}/stat", pid.trim());
    let deadline = Instant::now() + Duration::from_secs(5);
    // A zombie that nobody in this container waits for is gone, too.
    while fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z")) {
        assert!(Instant::now() < deadline, "process {pid} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn only_what_lies_in_the_folder() {
    let (dir, outside) = (folder("exit 0"), folder("exit 0"));
    symlink(outside.path().join("check"), dir.path().join("away")).expect("a link");
    fs::create_dir(dir.path().join("sub")).expect("a folder");
    fs::write(dir.path().join("plain"), "no program").expect("writes");
    let make = |command: &str, folder: Option<&Path>| {
        let kind = format!(r#""script":{{"command":"{command}"}}"#);
        prober_at("10.0.0.7", 80, LONG_MS, &kind, &context(folder))
    };
    for (command, folder, part) in [
        ("check", None, "this collector runs no scripts: set collector.scripts.dir"),
        ("none", Some(dir.path()), "No such file"),
        ("away", Some(dir.path()), "it is no file in"),
        ("sub", Some(dir.path()), "it is no file in"),
        ("check", Some(Path::new("/none")), "No such file"),
    ] {
        let error = make(command, folder).expect_err(part);
        assert!(error.contains(part), "{error}");
    }
    let outcome = make("plain", Some(dir.path())).expect("a file").run().await;
    assert!(outcome.reason.contains("does not start: Permission denied"), "{}", outcome.reason);
}

#[tokio::test]
async fn assertions() {
    let dir = folder("echo 'queue is long'; exit 1");
    for (assertion, good) in [
        ("exit_code == 1 && output.contains('long')", true),
        ("exit_code == 0", false),
        ("output.startsWith('all is well')", false),
    ] {
        let kind = format!(r#""assertions":[{assertion:?}],"script":{{"command":"check"}}"#);
        let prober = prober_at("h", 1, LONG_MS, &kind, &context(Some(dir.path())));
        let outcome = prober.expect("a good check").run().await;
        assert_eq!(outcome.good, good, "{assertion}: {}", outcome.reason);
    }
}
