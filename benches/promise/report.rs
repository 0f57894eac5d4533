//! How long requests took, minute by minute and over all, and the members' memory beside.

use std::time::Duration;

use crate::{PROMISE, SHARE, memory};

/// Longest step of the table.
const STEP: Duration = Duration::from_secs(60);

/// What was measured.
pub(crate) struct Report {
    processes: Vec<u32>,
    /// Of every request, in microseconds.
    took: Vec<u32>,
    /// Of this step.
    step: Vec<u32>,
    step_late: u64,
    late: u64,
    errors: u64,
    steps: u32,
}

impl Report {
    pub(crate) fn new(processes: Vec<u32>) -> Self {
        println!(
            "    until   answers      p50      p99   p99.99      max  late  memory of each member"
        );
        let (took, step) = (Vec::new(), Vec::new());
        Self { processes, took, step, step_late: 0, late: 0, errors: 0, steps: 1 }
    }

    /// A request that was due at `due` after the beginning.
    pub(crate) fn answered(&mut self, due: Duration, took: Duration, is_ok: bool) {
        if due >= STEP * self.steps {
            self.print_step();
            self.steps += 1;
        }
        let is_late = !is_ok || took > PROMISE;
        self.late += u64::from(is_late);
        self.step_late += u64::from(is_late);
        self.errors += u64::from(!is_ok);
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.took.push(micros);
        self.step.push(micros);
    }

    fn print_step(&mut self) {
        let mut step = std::mem::take(&mut self.step);
        if step.is_empty() {
            return;
        }
        step.sort_unstable();
        println!(
            "{:>7} s {:>9} {:>8} {:>8} {:>8} {:>8} {:>5}  {}",
            (STEP * self.steps).as_secs(),
            step.len(),
            rank(&step, 0.5),
            rank(&step, 0.99),
            rank(&step, 0.999_9),
            rank(&step, 1.0),
            std::mem::take(&mut self.step_late),
            megabytes(&self.processes),
        );
    }

    /// Prints it, and says whether the promise was kept.
    pub(crate) fn verdict(mut self) -> bool {
        self.print_step();
        self.took.sort_unstable();
        let all = self.took.len().max(1);
        let share = 1.0 - self.late as f64 / all as f64;
        println!(
            "{} requests: {:.4} % within {PROMISE:?}, {} late of which {} errors; p50 {}, p99 {}, p99.99 {}, worst {}",
            self.took.len(),
            share * 100.0,
            self.late,
            self.errors,
            rank(&self.took, 0.5),
            rank(&self.took, 0.99),
            rank(&self.took, 0.999_9),
            rank(&self.took, 1.0),
        );
        let kept = share >= SHARE && !self.took.is_empty();
        println!("verdict: the promise is {}", if kept { "kept" } else { "broken" });
        kept
    }
}

/// The value at a share of a sorted list.
fn rank(sorted: &[u32], share: f64) -> String {
    let at = (share * sorted.len() as f64).ceil() as usize;
    let micros = sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default();
    format!("{:.1}ms", f64::from(micros) / 1e3)
}

/// Memory of each process.
pub(crate) fn megabytes(processes: &[u32]) -> String {
    let each = processes.iter().map(|process| {
        memory::resident(*process).map_or("gone".to_owned(), |bytes| format!("{}", bytes >> 20))
    });
    format!("{} MiB", each.collect::<Vec<_>>().join(", "))
}
