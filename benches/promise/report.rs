//! How long requests took, minute by minute and over all, and the members' memory beside.

use std::time::Duration;

use crate::{
    PROMISE, SHARE,
    background::Done,
    memory::{self, Memory},
};

/// Longest step of the table.
const STEP: Duration = Duration::from_secs(60);

/// Between two looks at the members' memory.
const SAMPLE: Duration = Duration::from_secs(1);

/// What was measured.
pub(crate) struct Report {
    processes: Vec<u32>,
    memory: Memory,
    samples: u32,
    /// Of every request, in microseconds.
    took: Vec<u32>,
    /// Of this step.
    step: Vec<u32>,
    step_late: u64,
    late: u64,
    errors: u64,
    steps: u32,
    /// When late ones were due, and how long they took.
    late_ones: Vec<(Duration, Duration)>,
}

/// Late requests that were due shortly after one another.
struct Stall {
    from: Duration,
    to: Duration,
    late: u64,
    worst: Duration,
}

/// Late requests further apart than this are of two stalls.
const APART: Duration = Duration::from_millis(250);
/// Stalls that are printed, the worst first.
const STALLS_SHOWN: usize = 20;

impl Report {
    pub(crate) fn new(processes: Vec<u32>) -> Self {
        println!(
            "    until   answers      p50      p99   p99.99      max  late  memory of each member"
        );
        let (took, step) = (Vec::new(), Vec::new());
        let late_ones = Vec::new();
        let memory = Memory::new(processes.len());
        Self {
            processes,
            memory,
            samples: 0,
            took,
            step,
            step_late: 0,
            late: 0,
            errors: 0,
            steps: 1,
            late_ones,
        }
    }

    /// A request that was due at `due` after the beginning.
    pub(crate) fn answered(&mut self, due: Duration, took: Duration, is_ok: bool) {
        if due >= SAMPLE * self.samples {
            self.samples += 1;
            for (member, process) in self.processes.iter().enumerate() {
                self.memory.sample(member, due, *process);
            }
        }
        if due >= STEP * self.steps {
            self.print_step();
            self.steps += 1;
        }
        let is_late = !is_ok || took > PROMISE;
        self.late += u64::from(is_late);
        if is_late {
            self.late_ones.push((due, took));
        }
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

    fn stalls(&mut self) -> Vec<Stall> {
        self.late_ones.sort_unstable();
        let mut stalls: Vec<Stall> = Vec::new();
        for (due, took) in &self.late_ones {
            match stalls.last_mut().filter(|stall| *due <= stall.to + APART) {
                Some(stall) => {
                    (stall.to, stall.late) = (*due, stall.late + 1);
                    stall.worst = stall.worst.max(*took);
                }
                None => stalls.push(Stall { from: *due, to: *due, late: 1, worst: *took }),
            }
        }
        stalls.sort_by_key(|stall| std::cmp::Reverse(stall.late));
        stalls
    }

    /// Prints it, and says whether the promise was kept. `beside` is what went on meanwhile, `faults` what should have
    /// and did not, or should not have and did.
    pub(crate) fn verdict(mut self, beside: &Done, mut faults: Vec<String>) -> bool {
        self.print_step();
        let stalls = self.stalls();
        println!("{} stalls:", stalls.len());
        for Stall { from, to, late, worst } in stalls.iter().take(STALLS_SHOWN) {
            let (took, beside) = (*to - *from, beside.at(*from).join(", "));
            println!(
                "{:>9.2} s {late:>6} late, due within {took:>6.0?}, worst {worst:.0?}  {beside}",
                from.as_secs_f64()
            );
        }
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
        faults.extend(beside.faults());
        faults.extend(self.memory.grows());
        for fault in &faults {
            println!("fault: {fault}");
        }
        let kept = share >= SHARE && !self.took.is_empty() && faults.is_empty();
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
