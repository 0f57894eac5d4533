//! Reading entries: from memory at once, older ones from the files on a thread that may block.

use std::{
    collections::BTreeMap,
    io,
    ops::{Bound, RangeBounds},
    os::unix::fs::FileExt,
    sync::Arc,
};

use super::{
    Entry, LogId, WalError,
    frame::Stored,
    log::{Location, Source},
    schema::Record,
    segment::Segment,
    store::Shared,
};

/// Neighbouring entries are read from a file together, up to this.
const RUN_BYTES_MAX: usize = 1 << 20;

/// `start` and the index after the last of a range.
pub(super) fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

/// The entries from `start` to before `end` that there are, as of now, until they come to more than `bytes_max`.
///
/// # Errors
/// A file that cannot be read, or whose bytes are not what was written; what made the log fail earlier.
pub(super) async fn entries(
    shared: &Shared,
    start: u64,
    end: u64,
    bytes_max: usize,
) -> io::Result<Vec<Entry>> {
    shared.check()?;
    let (sources, segments) = {
        let log = shared.log();
        let sources = log.sources(start, end, bytes_max);
        let stored = sources.iter().any(|source| matches!(source, Source::Stored(..)));
        (sources, if stored { log.segments.clone() } else { BTreeMap::new() })
    };
    if segments.is_empty() {
        return Ok(sources
            .into_iter()
            .filter_map(|source| match source {
                Source::Cached(entry) => Some(entry),
                Source::Stored(..) => None, // none of them: a stored entry has a segment
            })
            .collect());
    }
    let salt = shared.salt;
    tokio::task::spawn_blocking(move || load(salt, &segments, sources))
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::from)
}

fn load(
    salt: u64,
    segments: &BTreeMap<u64, Arc<Segment>>,
    sources: Vec<Source>,
) -> Result<Vec<Entry>, WalError> {
    let mut entries = Vec::with_capacity(sources.len());
    let mut run: Vec<(LogId, Location)> = Vec::new();
    for source in sources {
        match source {
            Source::Stored(id, at) if run.is_empty() || continues(&run, at) => run.push((id, at)),
            Source::Stored(id, at) => {
                load_run(salt, segments, &run, &mut entries)?;
                run = vec![(id, at)];
            }
            Source::Cached(entry) => {
                load_run(salt, segments, &run, &mut entries)?;
                run.clear();
                entries.push(entry);
            }
        }
    }
    load_run(salt, segments, &run, &mut entries)?;
    Ok(entries)
}

/// Whether `at` can be read together with the entries of `run`: same file, further on, not too far.
fn continues(run: &[(LogId, Location)], at: Location) -> bool {
    let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return false };
    let bytes = (at.offset + at.bytes).saturating_sub(first.offset) as usize;
    at.segment == first.segment && at.offset > last.offset && bytes <= RUN_BYTES_MAX
}

fn load_run(
    salt: u64,
    segments: &BTreeMap<u64, Arc<Segment>>,
    run: &[(LogId, Location)],
    entries: &mut Vec<Entry>,
) -> Result<(), WalError> {
    let (Some((_, first)), Some((_, last))) = (run.first(), run.last()) else { return Ok(()) };
    let Some(segment) = segments.get(&first.segment) else {
        return Err(WalError::Options(format!(
            "segment {} was given away too early",
            first.segment
        )));
    };
    let mut bytes = vec![0; (last.offset + last.bytes - first.offset) as usize];
    segment
        .file
        .read_exact_at(&mut bytes, u64::from(first.offset))
        .map_err(WalError::io("read", &segment.path))?;
    for (id, at) in run {
        let damage = |what: String| WalError::corrupt(&segment.path, u64::from(at.offset), what);
        let stored =
            Stored::parse(salt, &bytes[(at.offset - first.offset) as usize..]).map_err(damage)?;
        match Record::decode(stored.kind, stored.payload).map_err(damage)? {
            Record::Entry(entry) if entry.log_id == *id => entries.push(entry),
            _ => return Err(damage(format!("entry {id} should stand here"))),
        }
    }
    Ok(())
}
