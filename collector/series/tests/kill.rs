//! `kill -9` in the middle of writing, twenty times: what was flushed is there, once and whole, each time.
//!
//! The child is this program again. It appends without pause and flushes again and again, as the store's owner does
//! once a second, and says after each flush how far it had come before: so what a kill loses is what came since.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use watchkeep_series::{Labels, Options, Sample, SeriesStore};

const DIR: &str = "WATCHKEEP_KILL_TEST_DIR";
const KILLS: usize = 20;
const SERIES: i64 = 40;
/// Chunks fill quickly, and buckets of two hours go by.
const STEP_MS: i64 = 60_000;
const START_MS: i64 = 1_760_000_000_000;
/// The child ends by itself if nobody kills it.
const STEPS_MAX: i64 = 100_000;

fn labels(series: i64) -> Labels {
    Labels::new([("__name__", "ticks"), ("series", &series.to_string())])
}

/// As many steps as all series have; all must have as many, or those of the last one may miss.
fn steps(store: &SeriesStore) -> Result<i64, Box<dyn Error>> {
    let all = store.select(&[], i64::MIN, i64::MAX)?;
    assert!(all.is_empty() || all.len() == SERIES as usize, "{} series", all.len());
    let mut steps = None;
    for series in all {
        let step = |sample: &Sample| ((sample.timestamp_ms - START_MS) / STEP_MS, sample.value);
        let expected = (0..series.samples.len() as i64).map(|n| (n, n as f64));
        assert!(series.samples.iter().map(step).eq(expected), "a gap or a double");
        let count = series.samples.len() as i64;
        assert_eq!(*steps.get_or_insert(count), count, "{}", series.labels);
    }
    Ok(steps.unwrap_or(0))
}

fn open(dir: &Path) -> Result<SeriesStore, Box<dyn Error>> {
    let options = Options { retention_ms: i64::MAX, ..Options::default() };
    Ok(SeriesStore::open(dir, options)?)
}

/// The child; without its directory there is nothing to do.
#[test]
fn writes_until_it_is_killed() -> Result<(), Box<dyn Error>> {
    let Ok(dir) = env::var(DIR) else { return Ok(()) };
    let store = open(Path::new(&dir))?;
    let first = steps(&store)?;
    for step in first..first + STEPS_MAX {
        let sample = Sample { timestamp_ms: START_MS + step * STEP_MS, value: step as f64 };
        let batch: Vec<_> = (0..SERIES).map(|series| (labels(series), sample)).collect();
        assert_eq!(store.append(&batch, sample.timestamp_ms)?.appended, SERIES as u64);
        match step % 50 {
            0 => drop(store.expire(sample.timestamp_ms)?),
            n if n % 7 == 0 => store.flush()?,
            _ => continue,
        }
        println!("flushed {step}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

#[test]
fn twenty_kills() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut known = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(env::current_exe()?)
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("no output")?;
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        let mut flushes = lines.filter_map(|line| line.strip_prefix("flushed ")?.parse().ok());
        // At another moment each time, from before the first flush to after many.
        let before: Option<i64> = flushes.by_ref().take(kill * 7 % 50).last();
        child.kill()?;
        let flushed = flushes.last().or(before);
        child.wait()?;
        let there = steps(&open(dir.path())?)?;
        let least = flushed.map_or(known, |last| last + 1);
        assert!(there >= least, "kill {kill}: {there} steps are there, {least} were flushed");
        known = there;
    }
    assert!(known > 0, "no child came to flush");
    Ok(())
}
