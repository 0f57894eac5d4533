//! The series store beside apt's Prometheus: the same samples by remote write, the same questions, in turn.
//!
//! Each service has fifty instances, each instance two counters: `requests_total` grows by a random whole number each
//! time, `errors_total` in a tenth of the times. First a day at wide steps, then an hour at ten seconds, all with
//! advancing timestamps that end now. CPU is user and system time of the server's process; the load tool has a process of
//! its own and shares the cores. Medians over the rounds where there are rounds.
//!
//! `cargo xtask bench series [--series 100000] [--day-step 300] [--hour-step 10] [--hour-minutes 60] [--clients 4] [--rounds 3]`

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

#[path = "../../tests/common/mod.rs"]
mod common;
mod group;
mod load;
mod side;

use load::Load;
use side::Side;

const HOUR_MS: i64 = 3_600_000;
const INSTANCES: u64 = 50;

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    series: u64,
    day_step_s: u64,
    hour_step_s: u64,
    hour_minutes: u64,
    clients: u64,
    rounds: u64,
}

/// What one piece of work took.
#[derive(Clone, Copy, Default)]
struct Run {
    wall_s: f64,
    cpu_s: f64,
}

fn main() {
    let effort = Effort {
        series: number("--series").unwrap_or(100_000),
        day_step_s: number("--day-step").unwrap_or(300),
        hour_step_s: number("--hour-step").unwrap_or(10),
        hour_minutes: number("--hour-minutes").unwrap_or(60),
        clients: number("--clients").unwrap_or(4),
        rounds: number("--rounds").unwrap_or(3),
    };
    println!(
        "{} series; a day every {} s, then an hour every {} s; {} clients; {} rounds",
        effort.series, effort.day_step_s, effort.hour_step_s, effort.clients, effort.rounds
    );
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(measure(effort));
}

/// The number behind a flag.
fn number(flag: &str) -> Option<u64> {
    let value = std::env::args().skip_while(|arg| arg != flag).nth(1);
    value.map(|value| value.parse().unwrap_or_else(|_| panic!("{flag} {value}: a number")))
}

async fn measure(effort: Effort) {
    let dir = TempDir::with_prefix("watchkeep-series-").expect("temporary folder");
    let mut sides = [Side::ours(dir.path()).await, Side::theirs(dir.path()).await];
    let empty = sides.each_mut().map(|side| side.resident_bytes());
    let load = Load::new(effort.series, INSTANCES);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let now_ms = i64::try_from(now.as_millis()).expect("before 300 million");
    let step_ms = i64::try_from(effort.hour_step_s).expect("small") * 1_000;
    let end_ms = now_ms / step_ms * step_ms;
    let hour_ms = i64::try_from(effort.hour_minutes).expect("small") * 60_000;
    let between = end_ms - hour_ms;
    let day: Vec<_> = times(between - 24 * HOUR_MS, between, effort.day_step_s).collect();
    let hour: Vec<_> = times(between, end_ms, effort.hour_step_s).collect();
    let count = |times: &[i64]| times.len() as f64 * effort.series as f64;
    println!("{:<44} {:>12} {:>12} {:>8}", "", "ours", "Prometheus", "ratio");
    write(&mut sides, &load, &day, effort, "ingest, a day, CPU µs per sample").await;
    write(&mut sides, &load, &hour, effort, "ingest, an hour, CPU µs per sample").await;
    let resident = sides.each_mut().map(|side| side.resident_bytes() as f64);
    let per_series = resident.map(|bytes| bytes / effort.series as f64);
    row("memory per series, whole process, bytes", per_series[0], per_series[1]);
    let more = [0, 1].map(|n| (resident[n] - empty[n] as f64) / effort.series as f64);
    row("memory per series beyond the empty process", more[0], more[1]);
    ask(&mut sides, effort, end_ms).await;
    group::measure(&mut sides, effort, end_ms).await;
    let samples = count(&day) + count(&hour);
    disk(&mut sides, samples).await;
    restart(&mut sides, end_ms).await;
    disk(&mut sides, samples).await;
}

fn times(from_ms: i64, to_ms: i64, step_s: u64) -> impl Iterator<Item = i64> {
    let step = usize::try_from(step_s * 1_000).expect("small");
    (from_ms + 1..=to_ms).skip(step - 1).step_by(step)
}

/// Both sides take the same samples, in turn by slices, so that what else runs meets both.
async fn write(sides: &mut [Side; 2], load: &Load, times: &[i64], effort: Effort, name: &str) {
    const SLICES: usize = 6;
    let mut sums = [Run::default(); 2];
    for slice in times.chunks(times.len().div_ceil(SLICES).max(1)) {
        for (side, sum) in sides.iter_mut().zip(&mut sums) {
            let (cpu, begun) = (side.cpu_seconds(), Instant::now());
            load.write(&side.write_url(), slice, effort.clients).await;
            sum.wall_s += begun.elapsed().as_secs_f64();
            sum.cpu_s += side.cpu_seconds() - cpu;
        }
    }
    let samples = times.len() as f64 * effort.series as f64;
    let [ours, theirs] = sums;
    row(name, ours.cpu_s / samples * 1e6, theirs.cpu_s / samples * 1e6);
    row("  samples per second, wall", samples / ours.wall_s, samples / theirs.wall_s);
}

async fn ask(sides: &mut [Side; 2], effort: Effort, at_ms: i64) {
    let services = effort.series / INSTANCES / 2;
    let alerts: Vec<_> = (0..services)
        .map(|n| {
            let rate = |metric| format!("sum(rate({metric}{{service=\"service-{n}\"}}[5m]))");
            format!("{} / {} > 0.5", rate("errors_total"), rate("requests_total"))
        })
        .collect();
    // Both counters of an instance have the same labels but for their name, so one selector of both is refused.
    let per_service = |metric| format!("sum by (service) (rate({metric}[5m]))");
    let sum = format!("{} + {}", per_service("requests_total"), per_service("errors_total"));
    let all = [
        (format!("{services} ratio alerts, one round, CPU s"), alerts),
        ("sum by (service)(rate(x[5m])), CPU s".to_owned(), vec![sum]),
    ];
    for (name, queries) in all {
        let mut runs = [Vec::new(), Vec::new()];
        for _ in 0..=effort.rounds {
            for (side, runs) in sides.iter_mut().zip(&mut runs) {
                let (cpu, begun) = (side.cpu_seconds(), Instant::now());
                for query in &queries {
                    side.query(query, at_ms).await;
                }
                let wall_s = begun.elapsed().as_secs_f64();
                runs.push(Run { wall_s, cpu_s: side.cpu_seconds() - cpu });
            }
        }
        // The first warms up.
        let [ours, theirs] = runs.map(|runs| median(&runs[1..]));
        row(&name, ours.cpu_s, theirs.cpu_s);
        row("  wall s", ours.wall_s, theirs.wall_s);
    }
}

async fn disk(sides: &mut [Side; 2], samples: f64) {
    // Both compact in the background; the folder is measured when it no longer shrinks.
    let mut bytes = sides.each_ref().map(Side::disk_bytes);
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let next = sides.each_ref().map(Side::disk_bytes);
        if next[0] * 100 >= bytes[0] * 99 && next[1] * 100 >= bytes[1] * 99 {
            break;
        }
        bytes = next;
    }
    let bytes = sides.each_ref().map(Side::disk_bytes);
    row(
        "disk per sample, whole folder, bytes",
        bytes[0] as f64 / samples,
        bytes[1] as f64 / samples,
    );
    let ours = sides[0].chunk_bytes_per_sample(samples);
    let theirs = sides[1].chunk_bytes_per_sample(samples);
    row("  of what is compacted (tables; blocks)", ours, theirs);
}

async fn restart(sides: &mut [Side; 2], at_ms: i64) {
    let mut runs = [Run::default(); 2];
    for (side, run) in sides.iter_mut().zip(&mut runs) {
        side.kill();
        let begun = Instant::now();
        side.start();
        let query = "count(rate(requests_total[5m]))";
        while !side.answers(query, at_ms).await {
            assert!(begun.elapsed() < Duration::from_secs(300), "no answer after five minutes");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        *run = Run { wall_s: begun.elapsed().as_secs_f64(), cpu_s: side.cpu_seconds() };
    }
    row("kill -9 to the first answer, CPU s", runs[0].cpu_s, runs[1].cpu_s);
    row("  wall s", runs[0].wall_s, runs[1].wall_s);
}

fn median(runs: &[Run]) -> Run {
    let of = |field: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Run { wall_s: of(|run| run.wall_s), cpu_s: of(|run| run.cpu_s) }
}

fn row(name: &str, ours: f64, theirs: f64) {
    println!("{name:<44} {ours:>12.3} {theirs:>12.3} {:>8.3}", ours / theirs);
}
