//! The memory of processes over time, and whether it grows.

#![allow(unreachable_pub, dead_code, reason = "each program uses its own part of this")]

use std::{fs, time::Duration};

/// Growth from the middle third to the last that is no growth: caches fill, allocators keep what they had.
const GROWTH_MAX: f64 = 1.25;
const GROWTH_FREE_BYTES: u64 = 64 << 20;
/// Below this time nothing can be said.
const TIME_MIN: Duration = Duration::from_secs(60);

/// Samples by member.
pub struct Memory(Vec<Vec<(Duration, u64)>>);

impl Memory {
    /// Of so many members, without samples.
    pub fn new(members: usize) -> Self {
        Self(vec![Vec::new(); members])
    }

    /// Takes one; a process that has gone has none.
    pub fn sample(&mut self, member: usize, at: Duration, process: u32) {
        self.0[member].extend(resident(process).map(|bytes| (at, bytes)));
    }

    /// The most that a member had in a part of the time.
    pub fn peak(&self, member: usize, from: Duration, to: Duration) -> u64 {
        let inside = self.0[member].iter().filter(|(at, _)| (from..=to).contains(at));
        inside.map(|(_, bytes)| *bytes).max().unwrap_or_default()
    }

    /// The peaks of a member in each third of the time, in MiB.
    pub fn thirds(&self, member: usize) -> [u64; 3] {
        let time = self.0[member].last().map_or(Duration::ZERO, |(at, _)| *at);
        [0, 1, 2].map(|third| self.peak(member, time / 3 * third, time / 3 * (third + 1)) >> 20)
    }

    /// Members whose memory grows.
    pub fn grows(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (member, samples) in self.0.iter().enumerate() {
            let time = samples.last().map_or(Duration::ZERO, |(at, _)| *at);
            let (middle, last) =
                (self.peak(member, time / 3, time / 3 * 2), self.peak(member, time / 3 * 2, time));
            let most = (middle as f64 * GROWTH_MAX) as u64 + GROWTH_FREE_BYTES;
            if time >= TIME_MIN && last > most {
                let (middle, last) = (middle >> 20, last >> 20);
                faults.push(format!("member {} grows: {middle} MiB, then {last} MiB", member + 1));
            }
        }
        faults
    }
}

/// Bytes in memory.
pub fn resident(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}
