//! Operators between two vectors: series find each other by match group, pair by pair, over all steps at once.
//!
//! ```text
//! errors{code="500", job="a"}  ┐                         ┌ requests{job="a"}
//! errors{code="404", job="a"}  ├─ on(job): group {a} ─── ┘     many to one: two rows
//! errors{code="500", job="b"}  ┘  group {b}: nothing on the right, no row
//! ```

use std::collections::HashMap;

use super::{
    Evaluator, Sink, arithmetic,
    grouping::{Grouping, Groups},
};
use crate::{
    Labels, METRIC_NAME,
    promql::{
        EvalError, SampleValue,
        error::execution,
        plan::{Binary, BinaryOp, Cardinality, Matching},
        row::{Cell, Row, Steps},
    },
};

/// How the two sides of this operation group.
pub(super) fn grouping(matching: &Matching) -> Grouping<'_> {
    if matching.on { Grouping::by(&matching.labels) } else { Grouping::without(&matching.labels) }
}

/// Rows of one match group: indexes into the many side and the one side.
#[derive(Default, Clone)]
struct Group {
    many: Vec<usize>,
    one: Vec<usize>,
}

/// Where results go: rows by label set, each step once.
struct Results {
    places: HashMap<Labels, usize>,
    rows: Vec<Row>,
    /// Per row: the group that wrote it.
    steps: usize,
}

struct Sides<'a> {
    many: &'a [Row],
    one: &'a [Row],
    /// The left side is the one side.
    swapped: bool,
}

impl Evaluator<'_> {
    pub(super) fn between(
        &self,
        binary: &Binary,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let matching = &binary.matching;
        let lhs = self.collect(&binary.lhs, steps)?;
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if lhs.is_empty() && !fills {
            return Ok(());
        }
        let rhs = self.collect(&binary.rhs, steps)?;
        let held = (lhs.len() + rhs.len()) * steps.count;
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let sides = if swapped {
            Sides { many: &rhs, one: &lhs, swapped }
        } else {
            Sides { many: &lhs, one: &rhs, swapped }
        };
        let grouping = grouping(matching);
        let mut numbers = Groups::default();
        let mut groups: Vec<Group> = Vec::new();
        let mut place = |labels: &Labels, groups: &mut Vec<Group>| {
            let (group, new) = numbers.of(&grouping, labels);
            if new {
                groups.push(Group::default());
            }
            group
        };
        for (at, row) in sides.many.iter().enumerate() {
            let group = place(&row.labels, &mut groups);
            groups[group].many.push(at);
        }
        for (at, row) in sides.one.iter().enumerate() {
            let group = place(&row.labels, &mut groups);
            groups[group].one.push(at);
        }
        // At a step where one side is empty, nothing is matched and nothing can be wrong.
        let active = |rows: &[Row], step: usize| rows.iter().any(|row| row.has(step));
        let live: Vec<bool> = if groups.iter().any(|g| g.one.len() > 1) && !fills {
            (0..steps.count).map(|s| active(&lhs, s) && active(&rhs, s)).collect()
        } else {
            vec![true; steps.count]
        };
        let mut results = Results { places: HashMap::new(), rows: Vec::new(), steps: steps.count };
        for group in &groups {
            self.check_stop()?;
            self.check_one_side(binary, &sides, group, &live)?;
            self.pair(binary, &sides, group, &grouping, &mut results)?;
        }
        self.release(held);
        self.release(results.rows.len() * steps.count);
        results.rows.iter_mut().filter(|row| !row.is_empty()).try_for_each(sink)
    }

    fn check_one_side(
        &self,
        binary: &Binary,
        sides: &Sides<'_>,
        group: &Group,
        live: &[bool],
    ) -> Result<(), EvalError> {
        if group.one.len() < 2 {
            return Ok(());
        }
        for step in (0..live.len()).filter(|step| live[*step]) {
            let mut present = group.one.iter().filter(|at| sides.one[**at].has(step));
            if let (Some(&first), Some(&second)) = (present.next(), present.next()) {
                let (first, second) = (&sides.one[first].labels, &sides.one[second].labels);
                let side = if sides.swapped { "left" } else { "right" };
                return Err(execution(format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the \
                     operation: [{}, {}];many-to-many matching not allowed: matching labels must be \
                     unique on one side",
                    braced(&grouping(&binary.matching).labels(first)),
                    braced(first),
                    braced(second),
                )));
            }
        }
        Ok(())
    }

    fn pair(
        &self,
        binary: &Binary,
        sides: &Sides<'_>,
        group: &Group,
        grouping: &Grouping<'_>,
        results: &mut Results,
    ) -> Result<(), EvalError> {
        let matching = &binary.matching;
        // Prometheus does not swap these with the sides: with `group_right`, too, `fill_left` is for the many side.
        let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let steps = results.steps;
        // One to one: whether a step of the group has a match already.
        let mut matched = vec![false; if one_to_one { steps } else { 0 }];
        for &many in &group.many {
            let row = &sides.many[many];
            self.check_stop()?;
            for &one in &group.one {
                let other = &sides.one[one];
                // Series that come after one another share a group without ever meeting.
                if !(0..steps).any(|s| row.has(s) && other.has(s)) {
                    continue;
                }
                let labels = result_labels(&row.labels, &other.labels, binary);
                let both = |s: usize| (row.cell(s), other.cell(s));
                let target = (labels, row.drop_name);
                self.combine(binary, sides, target, results, &mut matched, &both)?;
            }
            if let Some(fill) = fill_one {
                let labels = grouping.labels(&row.labels);
                let labels = result_labels(&row.labels, &labels, binary);
                let missing = |s: usize| {
                    let absent = !group.one.iter().any(|one| sides.one[*one].has(s));
                    (row.cell(s), if absent { Cell::Float(fill) } else { Cell::Absent })
                };
                let target = (labels, row.drop_name);
                self.combine(binary, sides, target, results, &mut matched, &missing)?;
            }
        }
        if let Some(fill) = fill_many {
            for &one in &group.one {
                let other = &sides.one[one];
                let labels = grouping.labels(&other.labels);
                let labels = result_labels(&labels, &other.labels, binary);
                let missing = |s: usize| {
                    let absent = !group.many.iter().any(|many| sides.many[*many].has(s));
                    (if absent { Cell::Float(fill) } else { Cell::Absent }, other.cell(s))
                };
                let target = (labels, other.drop_name);
                self.combine(binary, sides, target, results, &mut matched, &missing)?;
            }
        }
        Ok(())
    }

    /// Puts the results of one pair of series into the row of their labels.
    fn combine<'c>(
        &self,
        binary: &Binary,
        sides: &Sides<'_>,
        (labels, name_goes): (Labels, bool),
        results: &mut Results,
        matched: &mut [bool],
        cells: &dyn Fn(usize) -> (Cell<'c>, Cell<'c>),
    ) -> Result<(), EvalError> {
        let (op, position) = (binary.op, binary.lhs.position);
        let drop_name = binary.return_bool || (name_goes && !op.renames());
        let known = results.rows.len();
        let place = results.place(labels, drop_name);
        if results.rows.len() > known {
            self.hold(results.steps)?;
        }
        for step in 0..results.steps {
            let (many, one) = cells(step);
            if many == Cell::Absent || one == Cell::Absent {
                continue;
            }
            let (lhs, rhs) = if sides.swapped { (one, many) } else { (many, one) };
            let outcome = arithmetic::apply(op, lhs, rhs);
            outcome.note(self, op, position);
            let Some(kept) = outcome.kept else { continue };
            let value = if binary.return_bool {
                Some(SampleValue::Float(f64::from(u8::from(kept))))
            } else {
                outcome.value.filter(|_| kept)
            };
            let Some(value) = value else { continue };
            // A second match that a comparison leaves out is none.
            if let Some(matched) = matched.get_mut(step)
                && std::mem::replace(matched, true)
            {
                return Err(execution(
                    "multiple matches for labels: many-to-one matching must be explicit \
                     (group_left/group_right)",
                ));
            }
            let row = &mut results.rows[place];
            if row.has(step) {
                return Err(execution(if matched.is_empty() {
                    "multiple matches for labels: grouping labels must ensure unique matches"
                } else {
                    "vector cannot contain metrics with the same labelset"
                }));
            }
            row.set(step, Some(value));
        }
        Ok(())
    }
}

impl Results {
    fn place(&mut self, labels: Labels, drop_name: bool) -> usize {
        let (rows, steps) = (&mut self.rows, self.steps);
        *self.places.entry(labels).or_insert_with_key(|labels| {
            rows.push(Row::new(labels.clone(), drop_name, steps));
            rows.len() - 1
        })
    }
}

/// The labels of a result: those of the many side, less the name if the operation changes what is measured.
fn result_labels(many: &Labels, one: &Labels, binary: &Binary) -> Labels {
    let matching = &binary.matching;
    let renames = binary.op.renames();
    let one_to_one = matching.cardinality == Cardinality::OneToOne;
    let listed = |name: &str| matching.labels.binary_search_by(|n| n.as_str().cmp(name)).is_ok();
    let base = if renames { super::answer::without_metadata(many) } else { many.clone() };
    let base = if one_to_one {
        Labels::from_sorted(base.iter().filter(|(name, _)| listed(name) == matching.on))
    } else {
        base
    };
    matching
        .include
        .iter()
        .fold(base, |labels, name| labels.with(name, one.get(name).unwrap_or_default()))
}

/// A label set as Prometheus's errors write it, the name among the labels.
fn braced(labels: &Labels) -> String {
    let mut name = labels.get(METRIC_NAME).map(|v| format!("{METRIC_NAME}={v:?}")).into_iter();
    let others = labels.iter().filter(|(n, _)| *n != METRIC_NAME);
    let pairs: Vec<String> =
        name.by_ref().chain(others.map(|(n, v)| format!("{n}={v:?}"))).collect();
    format!("{{{}}}", pairs.join(", "))
}

impl Evaluator<'_> {
    /// `and`, `or`, `unless`: rows of both sides, by whether their group has anything on the other.
    pub(super) fn set_operation(
        &self,
        binary: &Binary,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        let grouping = grouping(&binary.matching);
        let mut numbers = Groups::default();
        // The side that only says which groups are there is not held.
        let (kept, asked) = match binary.op {
            BinaryOp::Or => (&binary.rhs, &binary.lhs),
            _ => (&binary.lhs, &binary.rhs),
        };
        let mut present: Vec<Vec<bool>> = Vec::new();
        self.rows(asked, steps, &mut |row| {
            let (group, new) = numbers.of(&grouping, &row.labels);
            if new {
                self.hold(steps.count)?;
                present.push(vec![false; steps.count]);
            }
            for (step, present) in present[group].iter_mut().enumerate() {
                *present |= row.has(step);
            }
            if binary.op == BinaryOp::Or { sink(row) } else { Ok(()) }
        })?;
        self.release(present.len() * steps.count);
        self.rows(kept, steps, &mut |row| {
            let (group, _) = numbers.of(&grouping, &row.labels);
            let wanted = binary.op == BinaryOp::And;
            let in_group = |step: usize| present.get(group).is_some_and(|p| p[step]);
            super::aggregate::keep_only(row, |step| in_group(step) == wanted);
            if row.is_empty() { Ok(()) } else { sink(row) }
        })
    }
}
