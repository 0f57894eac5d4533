//! `topk`, `bottomk`, `limitk`, `limit_ratio`: some of the series of each group, unchanged.

use super::{
    Evaluator, Sink,
    aggregate::{grouping, keep_only},
    grouping::Groups,
    remark,
};
use crate::{
    Labels,
    promql::{
        EvalError,
        error::execution,
        plan::{Aggregate, AggregateOp},
        row::{Cell, Row, Steps},
    },
};

/// A candidate: its value and its row.
type Candidate = (f64, usize);

impl Evaluator<'_> {
    pub(super) fn ranked(
        &self,
        aggregate: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let params = self.rank_params(aggregate, steps)?;
        let mut rows = self.collect(&aggregate.expr, steps)?;
        let held = rows.len() * steps.count;
        let grouping = grouping(aggregate);
        let mut groups = Groups::default();
        let of_row: Vec<usize> = rows.iter().map(|r| groups.of(&grouping, &r.labels).0).collect();
        let group_count = groups.members().len();
        let mut kept: Vec<Vec<bool>> = vec![vec![false; steps.count]; rows.len()];
        let mut order = Vec::new();
        let ratios: Vec<f64> = match aggregate.op {
            AggregateOp::LimitRatio => rows.iter().map(|row| share(&row.labels)).collect(),
            _ => Vec::new(),
        };
        for (step, &param) in params.iter().enumerate() {
            self.check_stop()?;
            let chosen = match aggregate.op {
                AggregateOp::LimitRatio => by_ratio(param, &rows, &ratios, step),
                op => {
                    let k = (param as i64).min(i64::try_from(rows.len()).unwrap_or(i64::MAX));
                    let k = usize::try_from(k).unwrap_or(0);
                    self.best(op, k, &rows, &of_row, group_count, step, aggregate)
                }
            };
            for &row in &chosen {
                kept[row][step] = true;
            }
            order = chosen;
        }
        self.release(held);
        // An instant query answers in the order of the values.
        if steps.count == 1 {
            return order.into_iter().try_for_each(|row| sink(&mut rows[row]));
        }
        for (row, kept) in rows.iter_mut().zip(kept) {
            keep_only(row, |step| kept[step]);
            if !row.is_empty() {
                sink(row)?;
            }
        }
        Ok(())
    }

    fn rank_params(&self, aggregate: &Aggregate, steps: Steps) -> Result<Vec<f64>, EvalError> {
        let param = aggregate.param.as_ref().ok_or_else(|| execution("a number is missing"))?;
        let mut params = self.scalars(param, steps)?;
        if aggregate.op != AggregateOp::LimitRatio {
            for value in &params {
                if value.is_nan() {
                    return Err(execution("Parameter value is NaN"));
                }
                if *value <= i64::MIN as f64 {
                    let value = crate::general(*value);
                    return Err(execution(format!("Scalar value {value} underflows int64")));
                }
                if *value >= i64::MAX as f64 {
                    let value = crate::general(*value);
                    return Err(execution(format!("Scalar value {value} overflows int64")));
                }
            }
            return Ok(params);
        }
        if params.iter().any(|ratio| ratio.is_nan()) {
            return Err(execution("Ratio value is NaN"));
        }
        let position = param.bare().position;
        let largest = params.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = params.iter().copied().fold(f64::INFINITY, f64::min);
        if largest > 1.0 {
            self.warn(remark::bad_ratio(largest, 1.0, position));
        }
        if smallest < -1.0 {
            self.warn(remark::bad_ratio(smallest, -1.0, position));
        }
        params.iter_mut().for_each(|ratio| *ratio = ratio.clamp(-1.0, 1.0));
        Ok(params)
    }

    /// The rows to keep at a step, best first within each group.
    #[expect(clippy::too_many_arguments, reason = "one step of a loop over all of them")]
    fn best(
        &self,
        op: AggregateOp,
        k: usize,
        rows: &[Row],
        of_row: &[usize],
        group_count: usize,
        step: usize,
        aggregate: &Aggregate,
    ) -> Vec<usize> {
        if k == 0 {
            return Vec::new();
        }
        let mut heaps: Vec<Vec<Candidate>> = vec![Vec::new(); group_count];
        for (at, (row, &group)) in rows.iter().zip(of_row).enumerate() {
            let heap = &mut heaps[group];
            let value = match row.cell(step) {
                Cell::Absent => continue,
                Cell::Float(value) => value,
                Cell::Histogram(_) if op == AggregateOp::Limitk => f64::NAN,
                Cell::Histogram(_) => {
                    self.info(format!(
                        "PromQL info: ignored histograms in {} aggregation ({})",
                        op.name(),
                        aggregate.position
                    ));
                    continue;
                }
            };
            if op == AggregateOp::Limitk {
                if heap.len() < k {
                    heap.push((value, at));
                }
            } else {
                offer(heap, k, (value, at), op == AggregateOp::Topk);
            }
        }
        let mut chosen = Vec::new();
        for mut heap in heaps {
            if op != AggregateOp::Limitk {
                heap.sort_by(|a, b| worse(b.0, a.0, op == AggregateOp::Topk));
            }
            chosen.extend(heap.into_iter().map(|(_, row)| row));
        }
        chosen
    }
}

/// Whether `a` comes before `b` on the way out: NaN first, then the smaller (the larger when the smallest are wanted).
fn worse(a: f64, b: f64, largest: bool) -> std::cmp::Ordering {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Equal,
        (true, false) => Less,
        (false, true) => Greater,
        (false, false) if largest => a.partial_cmp(&b).unwrap_or(Equal),
        (false, false) => b.partial_cmp(&a).unwrap_or(Equal),
    }
}

/// Puts a candidate into a heap of at most `k`, the worst on top. Of equals the first stays.
fn offer(heap: &mut Vec<Candidate>, k: usize, candidate: Candidate, largest: bool) {
    let before = |a: Candidate, b: Candidate| a.0.is_nan() || worse(a.0, b.0, largest).is_lt();
    if heap.len() < k {
        heap.push(candidate);
        let mut at = heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !before(heap[at], heap[parent]) {
                break;
            }
            heap.swap(at, parent);
            at = parent;
        }
        return;
    }
    if worse(heap[0].0, candidate.0, largest).is_lt() {
        heap[0] = candidate;
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= heap.len() {
                break;
            }
            let right = left + 1;
            let child =
                if right < heap.len() && before(heap[right], heap[left]) { right } else { left };
            if !before(heap[child], heap[at]) {
                break;
            }
            heap.swap(at, child);
            at = child;
        }
    }
}

fn by_ratio(ratio: f64, rows: &[Row], shares: &[f64], step: usize) -> Vec<usize> {
    let wanted = |share: f64| if ratio >= 0.0 { share < ratio } else { share >= 1.0 + ratio };
    let present = rows.iter().zip(shares).enumerate().filter(|(_, (row, _))| row.has(step));
    present.filter(|(_, (_, share))| wanted(**share)).map(|(at, _)| at).collect()
}

/// Where between 0 and 1 a series stands: a hash of its labels (FNV-1a, mixed), the same on every machine.
fn share(labels: &Labels) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, value) in labels.iter() {
        for byte in name.bytes().chain([0xff]).chain(value.bytes()).chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (hash ^ (hash >> 33)) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_many() {
        let values = [3.0, f64::NAN, 9.0, 1.0, 9.0, 4.0];
        for (k, largest, expected) in
            [(2, true, vec![9.0, 9.0]), (3, false, vec![1.0, 3.0, 4.0]), (1, true, vec![9.0])]
        {
            let mut heap = Vec::new();
            for (at, value) in values.iter().enumerate() {
                offer(&mut heap, k, (*value, at), largest);
            }
            heap.sort_by(|a, b| worse(b.0, a.0, largest));
            assert_eq!(heap.iter().map(|c| c.0).collect::<Vec<_>>(), expected, "{k} {largest}");
        }
    }

    #[test]
    fn shares_are_spread() {
        let share_of = |n: usize| share(&Labels::new([("n", n.to_string())]));
        let low = (0..1000).filter(|n| share_of(*n) < 0.25).count();
        assert!((200..300).contains(&low), "{low}");
    }
}
