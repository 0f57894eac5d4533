//! A program out of one folder, without a shell, in an environment of its own, and not for long.
//!
//! Nobody can know whether a program ran whose node died with it. So the next leader does not run it again: the step has
//! failed, and a person looks. One that says `idempotent` is run again with the same key.

use std::{path::PathBuf, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::AsyncReadExt,
    process::{ChildStdout, Command},
};

use super::{Deposed, Outcome, Run, fill, interrupted, key, millis};
use crate::{
    config::{FailoverScripts, Script},
    text::shorten,
};

/// Most that is kept of what it prints; the rest is read, and let go.
const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// What it has left running may hold its output open: after its end nobody waits longer for that.
const REST: Duration = Duration::from_millis(100);
/// Most of it in the journal, in characters.
const WORDS_MAX: usize = 300;
/// Where it finds programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Kills the script and all it has started, unless it has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // An error says that it has ended.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

/// The file of a command, if it may be run.
///
/// # Errors
/// When scripts are not allowed here, or there is no such file in the folder itself.
pub(crate) fn program(scripts: Option<&FailoverScripts>, command: &str) -> Result<PathBuf, String> {
    let scripts = scripts.ok_or(
        "no scripts are run here: set alerting.failover_scripts.dir to the folder they lie in",
    )?;
    let at = |e: std::io::Error| format!("{command:?}: {}: {e}", scripts.dir.display());
    let folder = scripts.dir.canonicalize().map_err(at)?;
    let program = folder.join(command).canonicalize().map_err(at)?;
    if program.parent() != Some(&*folder) || !program.is_file() {
        let (folder, program) = (folder.display(), program.display());
        return Err(format!("{command:?} is no file in {folder}, but leads to {program}"));
    }
    Ok(program)
}

/// Runs it.
pub(super) async fn run(run: &mut Run<'_>, at: usize, script: &Script) -> Result<Outcome, Deposed> {
    let record = &run.failover.record;
    if record.rehearsal {
        let args: Vec<_> = script.args.iter().map(|arg| fill(record, arg)).collect();
        return Ok(Outcome::done(format!("it would run {} {}", script.command, args.join(" "))));
    }
    if run.inherited == Some(at) && !script.idempotent {
        let by = &record.steps[at].by;
        let why =
            format!("{by}, which began it, is gone: nobody knows whether {} ran", script.command);
        return Ok(Outcome::Failed(why));
    }
    let program = match program(run.context.failover_scripts.as_ref(), &script.command) {
        Ok(program) => program,
        Err(why) => return Ok(Outcome::Failed(why)),
    };
    let mut command = Command::new(&program);
    command
        .args(script.args.iter().map(|arg| fill(record, arg)))
        .current_dir(program.parent().unwrap_or(&program))
        .env_clear()
        .env("PATH", PATH)
        .env("WATCHKEEP_FAILOVER", &record.id)
        .env("WATCHKEEP_IDEMPOTENCY_KEY", key(run, at))
        .env("WATCHKEEP_FENCING_TOKEN", run.failover.create_revision.to_string())
        .env("WATCHKEEP_POLICY", &record.policy)
        .env("WATCHKEEP_SERVICE", &record.service)
        .env("WATCHKEEP_INSTANCE", &record.instance)
        .env("WATCHKEEP_CANDIDATE", record.candidate.as_deref().unwrap_or_default())
        .env("WATCHKEEP_REASON", &record.reason)
        .envs(script.env.iter())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    let running = launch(command, millis(script.timeout_ms));
    tokio::pin!(running);
    let mut ticker = tokio::time::interval(millis(1_000));
    loop {
        tokio::select! {
            ended = &mut running => return Ok(match ended {
                Ok(words) => Outcome::done(words),
                Err(why) => Outcome::Failed(why),
            }),
            _ = ticker.tick() => {
                if let Some(interrupt) = interrupted(run).await? {
                    return Ok(Outcome::Interrupted(interrupt));
                }
            }
        }
    }
}

async fn launch(mut command: Command, limit: Duration) -> Result<String, String> {
    let mut child = command.spawn().map_err(|e| format!("it does not start: {e}"))?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group(leader);
    let mut stdout = child.stdout.take().ok_or("it has no output")?;
    let mut read = Vec::new();
    let ended = tokio::time::timeout(limit, async {
        tokio::select! {
            status = child.wait() => status,
            () = listen(&mut stdout, &mut read) => child.wait().await,
        }
    });
    let ended =
        ended.await.map_err(|_| format!("killed: not over within {} ms", limit.as_millis()))?;
    let status = ended.map_err(|e| e.to_string())?;
    group.0 = None;
    // Perhaps there is no end to it.
    let _ = tokio::time::timeout(REST, listen(&mut stdout, &mut read)).await;
    let words = shorten(&String::from_utf8_lossy(&read), WORDS_MAX);
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    match status.success() {
        true => Ok(format!("ended well{words}")),
        false => Err(format!("{status}{words}")),
    }
}

/// Reads until the end.
async fn listen(stdout: &mut ChildStdout, read: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stdout.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX - read.len();
        read.extend_from_slice(&buffer[..count.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_folder_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("scripts")).unwrap();
        for file in ["outside", "scripts/inside"] {
            std::fs::write(dir.path().join(file), "#!/bin/sh\n").unwrap();
        }
        let scripts = FailoverScripts { dir: dir.path().join("scripts") };
        assert!(program(Some(&scripts), "inside").is_ok());
        for (command, part) in
            [("absent", "absent"), ("../outside", "is no file in"), ("/bin/sh", "")]
        {
            let why = program(Some(&scripts), command).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        assert!(program(None, "inside").unwrap_err().contains("failover_scripts.dir"));
    }

    #[tokio::test]
    async fn it_says_what_it_printed_and_ends_in_time() {
        let shell = |text: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", text]).stdout(Stdio::piped()).process_group(0);
            command
        };
        let limit = millis(300);
        assert_eq!(launch(shell("echo a; echo b"), limit).await, Ok("ended well: a b".to_owned()));
        let failed = launch(shell("echo no; exit 3"), limit).await.unwrap_err();
        assert!(failed.contains('3') && failed.contains("no"), "{failed}");
        let late = launch(shell("sleep 60"), limit).await.unwrap_err();
        assert!(late.contains("300 ms"), "{late}");
        // Much is printed; something goes on in the background and keeps the output open.
        let limit = millis(10_000);
        let much = launch(shell("yes | head -c 1000000 && echo && exit 0"), limit).await;
        assert!(much.as_ref().is_ok_and(|words| words.starts_with("ended well: y y")), "{much:?}");
        let left = launch(shell("sleep 20 & echo started"), limit).await;
        assert_eq!(left, Ok("ended well: started".to_owned()));
    }
}
