//! Function calls that give vectors.

use super::{Evaluator, Sink, arithmetic};
use crate::{
    Labels,
    promql::{
        EvalError, SampleValue,
        error::execution,
        functions::{Function, math},
        plan::{Call, Node, What},
        row::{Cell, Row, Steps},
    },
};

impl Evaluator<'_> {
    pub(super) fn call(
        &self,
        call: &Call,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        match call.function {
            Function::Math(f) => self.each_float(&call.args[0], steps, sink, |_, v| f.apply(v)),
            Function::Round => {
                let nearest = match call.args.get(1) {
                    Some(node) => self.scalars(node, steps)?,
                    None => vec![1.0; steps.count],
                };
                self.each_float(&call.args[0], steps, sink, |s, v| math::round(v, nearest[s]))
            }
            Function::Clamp | Function::ClampMin | Function::ClampMax => {
                self.clamp(call, steps, sink)
            }
            Function::Date(part) => match call.args.first() {
                Some(node) => self.each_float(node, steps, sink, |_, v| part.of(v)),
                None => {
                    let floats = steps.times().map(|ms| part.of((ms / 1000) as f64)).collect();
                    sink(&mut Row { floats, ..Row::default() })
                }
            },
            Function::Timestamp => self.timestamp(&call.args[0], steps, sink),
            Function::Vector => {
                let floats = self.scalars(&call.args[0], steps)?;
                let mut row = Row::new(Labels::default(), false, steps.count);
                for (step, value) in floats.into_iter().enumerate() {
                    row.set(step, Some(SampleValue::Float(value)));
                }
                sink(&mut row)
            }
            Function::OverTime(function) => self.over_time(function, call, steps, sink),
            Function::AbsentOverTime => self.absent_over_time(&call.args[0], steps, sink),
            Function::Absent => self.absent(&call.args[0], steps, sink),
            Function::LabelReplace => self.label_replace(call, steps, sink),
            Function::LabelJoin => self.label_join(call, steps, sink),
            Function::Sort
            | Function::SortDesc
            | Function::SortByLabel
            | Function::SortByLabelDesc => self.sorted(call, steps, sink),
            Function::HistogramPart(part) => self.histogram_part(part, &call.args[0], steps, sink),
            Function::HistogramQuantile => self.histogram_quantile(call, steps, sink),
            Function::HistogramQuantiles => self.histogram_quantiles(call, steps, sink),
            Function::HistogramFraction => self.histogram_fraction(call, steps, sink),
            Function::Info => self.info_join(call, steps, sink),
            Function::StartTimestamp => self.start_timestamp(&call.args[0], steps, sink),
            Function::Scalar
            | Function::Time
            | Function::Pi
            | Function::MaxOf
            | Function::MinOf
            | Function::Start
            | Function::End
            | Function::Step
            | Function::Range => Err(execution("expected an instant vector")),
        }
    }

    /// A function of floats, dropping histograms and the name.
    fn each_float(
        &self,
        node: &Node,
        steps: Steps,
        sink: &mut Sink<'_>,
        f: impl Fn(usize, f64) -> f64,
    ) -> Result<(), EvalError> {
        self.rows(node, steps, &mut |row| {
            row.map(|step, cell| match cell {
                Cell::Float(value) => Some(SampleValue::Float(f(step, value))),
                Cell::Histogram(_) | Cell::Absent => None,
            });
            row.drop_name = true;
            if row.is_empty() { Ok(()) } else { sink(row) }
        })
    }

    fn clamp(&self, call: &Call, steps: Steps, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        let bound = |at: usize| self.scalars(&call.args[at], steps);
        let (low, high) = (vec![f64::NEG_INFINITY; steps.count], vec![f64::INFINITY; steps.count]);
        let (low, high) = match call.function {
            Function::Clamp => (bound(1)?, bound(2)?),
            Function::ClampMin => (bound(1)?, high),
            _ => (low, bound(1)?),
        };
        self.rows(&call.args[0], steps, &mut |row| {
            row.map(|step, cell| match cell {
                Cell::Float(_) if high[step] < low[step] => None,
                Cell::Float(value) => {
                    Some(SampleValue::Float(math::clamp(value, low[step], high[step])))
                }
                Cell::Histogram(_) | Cell::Absent => None,
            });
            row.drop_name = true;
            if row.is_empty() { Ok(()) } else { sink(row) }
        })
    }

    /// Of a selector: when its samples were taken; of anything else: the step's time.
    fn timestamp(&self, node: &Node, steps: Steps, sink: &mut Sink<'_>) -> Result<(), EvalError> {
        if let What::Vector(selector) = &node.bare().what {
            return self.select_times(selector, steps, sink);
        }
        self.rows(node, steps, &mut |row| {
            row.map(|step, cell| {
                arithmetic::owned(cell)?;
                Some(SampleValue::Float(steps.at(step) as f64 / 1000.0))
            });
            row.drop_name = true;
            sink(row)
        })
    }

    /// Of a selector: since when its samples count, where that is known; of anything else nothing.
    fn start_timestamp(
        &self,
        node: &Node,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), EvalError> {
        match &node.bare().what {
            What::Vector(selector) => self.select_starts(selector, steps, sink),
            _ => Ok(()),
        }
    }
}
