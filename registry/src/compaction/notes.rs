//! Notes of which revision was the newest when, in a file beside the data: a line each, Unix time in milliseconds and
//! revision. What is lost with it is only how old history is.

use std::{
    fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::warn;

/// The file, in the data directory.
const FILE: &str = "history";

/// At that time this was the newest revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Note {
    /// Milliseconds since this process began; before it: negative.
    pub(super) at_ms: i64,
    pub(super) revision: i64,
}

/// Those of before, the oldest first; none when there is no file, or one that is of no use. `newest`: the revision now.
pub(super) async fn read(dir: &Path, newest: i64) -> Vec<Note> {
    let path = dir.join(FILE);
    let shown = path.display().to_string();
    match blocking(move || fs::read_to_string(path)).await {
        Ok(text) => parse(&text, unix_ms(), newest).unwrap_or_else(|line| {
            warn!(path = %shown, line, "is no time and revision: how old history is counts from now on");
            Vec::new()
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            warn!(path = %shown, %error, "how old history is counts from now on");
            Vec::new()
        }
    }
}

/// Keeps them.
pub(super) async fn write(dir: &Path, notes: &[Note], now_ms: i64) -> io::Result<()> {
    let text = format(notes, unix_ms() - now_ms);
    let (new, path) = (dir.join(format!("{FILE}.new")), dir.join(FILE));
    blocking(move || fs::write(&new, text).and_then(|()| fs::rename(&new, &path))).await
}

/// `began_ms`: the Unix time of 0.
fn format(notes: &[Note], began_ms: i64) -> String {
    notes.iter().map(|note| format!("{} {}\n", began_ms + note.at_ms, note.revision)).collect()
}

/// The number of the first line that is wrong, from 1. What lies in the future, or out of order, is left out: the clock
/// was changed.
fn parse(text: &str, now_unix_ms: i64, newest: i64) -> Result<Vec<Note>, usize> {
    let mut notes: Vec<Note> = Vec::new();
    for (number, line) in (1usize..).zip(text.lines()) {
        let pair = line.split_once(' ').and_then(|(at, revision)| {
            Some((at.parse::<i64>().ok()?, revision.parse::<i64>().ok()?))
        });
        let (at, revision) = pair.ok_or(number)?;
        let note = Note { at_ms: at.saturating_sub(now_unix_ms), revision };
        let follows = notes
            .last()
            .is_none_or(|last| last.at_ms <= note.at_ms && last.revision <= note.revision);
        if note.at_ms <= 0 && revision <= newest && follows {
            notes.push(note);
        }
    }
    Ok(notes)
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let note = |at_ms, revision| Note { at_ms, revision };
        let text = format(&[note(-5_000, 3), note(0, 4), note(60_000, 9)], 1_000_000);
        assert_eq!(text, "995000 3\n1000000 4\n1060000 9\n");
        let read = |now, newest| parse(&text, now, newest);
        let all = vec![note(-105_000, 3), note(-100_000, 4), note(-40_000, 9)];
        assert_eq!(read(1_100_000, 9), Ok(all.clone()));
        assert_eq!(read(1_100_000, 8), Ok(all[..2].to_vec()), "a revision that there is not");
        assert_eq!(read(1_000_000, 9), Ok(vec![note(-5_000, 3), note(0, 4)]), "the future");
        for (text, line) in [("x", 1), ("1 2\n3", 2), ("1 2\n3 x\n", 2), ("1 2 3", 1)] {
            assert_eq!(parse(text, 10, 10), Err(line), "{text:?}");
        }
        assert_eq!(parse("5 7\n6 6\n7 8\n", 10, 10), Ok(vec![note(-5, 7), note(-3, 8)]));
    }

    #[tokio::test]
    async fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), 9).await, []);
        let notes = [Note { at_ms: -1_000, revision: 2 }, Note { at_ms: 0, revision: 3 }];
        write(dir.path(), &notes, 0).await.unwrap();
        let found = read(dir.path(), 9).await;
        assert_eq!(found.iter().map(|note| note.revision).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(found[1].at_ms - found[0].at_ms, 1_000);
        fs::write(dir.path().join(FILE), "broken").unwrap();
        assert_eq!(read(dir.path(), 9).await, []);
    }
}
