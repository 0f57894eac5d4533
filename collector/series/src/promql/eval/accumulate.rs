//! What an aggregation keeps per group and step while series stream by.

use std::sync::Arc;

use super::{Evaluator, remark};
use crate::{
    Histogram, HistogramMean, HistogramSum, ResetHint,
    promql::{
        SampleValue,
        kahan::{self, Mean, Sum},
        plan::{AggregateOp, Position},
    },
};

/// Where an aggregation's notes go.
pub(super) struct Context<'a, 'e> {
    pub(super) evaluator: &'a Evaluator<'e>,
    pub(super) op: &'static str,
    /// Of the aggregated expression.
    pub(super) position: Position,
}

impl Context<'_, '_> {
    fn ignored(&self) {
        let Self { evaluator, op, position } = self;
        evaluator.info(format!("PromQL info: ignored histograms in {op} aggregation ({position})"));
    }
}

/// One group at one step.
pub(super) trait Accumulate: Clone {
    /// Whether it keeps every value that it takes.
    const KEEPS: bool = false;
    /// Takes a float.
    fn float(&mut self, value: f64);
    /// Takes a histogram of a metric.
    fn histogram(&mut self, value: &Arc<Histogram>, metric: &str, context: &Context<'_, '_>);
    /// The result, if there was anything.
    fn finish(self, context: &Context<'_, '_>) -> Option<SampleValue>;
}

/// `count`, `group`
#[derive(Clone, Default)]
pub(super) struct Count {
    count: u32,
    only_one: bool,
}

impl Count {
    pub(super) fn one() -> Self {
        Self { count: 0, only_one: true }
    }
}

impl Accumulate for Count {
    #[inline]
    fn float(&mut self, _: f64) {
        self.count += 1;
    }

    fn histogram(&mut self, _: &Arc<Histogram>, _: &str, _: &Context<'_, '_>) {
        self.count += 1;
    }

    fn finish(self, _: &Context<'_, '_>) -> Option<SampleValue> {
        let count = if self.only_one { 1.0 } else { f64::from(self.count) };
        (self.count > 0).then_some(SampleValue::Float(count))
    }
}

/// `min`, `max`
#[derive(Clone)]
pub(super) struct Extreme {
    value: Option<f64>,
    largest: bool,
}

impl Extreme {
    pub(super) fn new(op: AggregateOp) -> Self {
        Self { value: None, largest: op == AggregateOp::Max }
    }
}

impl Accumulate for Extreme {
    #[inline]
    fn float(&mut self, value: f64) {
        match self.value {
            Some(known) if !known.is_nan() => {
                let better = if self.largest { value > known } else { value < known };
                if better {
                    self.value = Some(value);
                }
            }
            _ => self.value = Some(value),
        }
    }

    fn histogram(&mut self, _: &Arc<Histogram>, _: &str, context: &Context<'_, '_>) {
        context.ignored();
    }

    fn finish(self, _: &Context<'_, '_>) -> Option<SampleValue> {
        self.value.map(SampleValue::Float)
    }
}

/// `stddev`, `stdvar`
#[derive(Clone, Default)]
pub(super) struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
    root: bool,
}

impl Spread {
    pub(super) fn new(op: AggregateOp) -> Self {
        Self { root: op == AggregateOp::Stddev, ..Self::default() }
    }
}

impl Accumulate for Spread {
    fn float(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
        }
    }

    fn histogram(&mut self, _: &Arc<Histogram>, _: &str, context: &Context<'_, '_>) {
        context.ignored();
    }

    fn finish(self, _: &Context<'_, '_>) -> Option<SampleValue> {
        let variance = self.squares / self.count;
        let value = if self.root { variance.sqrt() } else { variance };
        (self.count > 0.0).then_some(SampleValue::Float(value))
    }
}

/// `quantile`
#[derive(Clone)]
pub(super) struct Values {
    values: Vec<f64>,
    q: f64,
}

impl Values {
    pub(super) fn new(q: f64) -> Self {
        Self { values: Vec::new(), q }
    }
}

impl Accumulate for Values {
    const KEEPS: bool = true;

    fn float(&mut self, value: f64) {
        self.values.push(value);
    }

    fn histogram(&mut self, _: &Arc<Histogram>, _: &str, context: &Context<'_, '_>) {
        context.ignored();
    }

    fn finish(mut self, _: &Context<'_, '_>) -> Option<SampleValue> {
        let value = kahan::quantile(self.q, &mut self.values);
        (!self.values.is_empty()).then_some(SampleValue::Float(value))
    }
}

/// A running sum or mean of floats, and the like of histograms.
pub(super) trait Running: Clone {
    type Histograms: Clone;
    fn of(value: f64) -> Self;
    fn add(&mut self, value: f64);
    fn value(self) -> f64;
    fn of_histogram(value: &Histogram) -> Self::Histograms;
    fn add_histogram(
        sum: &mut Self::Histograms,
        value: &Histogram,
    ) -> Result<crate::Combined, crate::HistogramError>;
    fn histogram(sum: Self::Histograms) -> Histogram;
}

macro_rules! running {
    ($floats:ty, $histograms:ty) => {
        impl Running for $floats {
            type Histograms = $histograms;

            fn of(value: f64) -> Self {
                <$floats>::of(value)
            }

            #[inline]
            fn add(&mut self, value: f64) {
                <$floats>::add(self, value);
            }

            fn value(self) -> f64 {
                <$floats>::value(self)
            }

            fn of_histogram(value: &Histogram) -> $histograms {
                <$histograms>::of(value)
            }

            fn add_histogram(
                sum: &mut $histograms,
                value: &Histogram,
            ) -> Result<crate::Combined, crate::HistogramError> {
                sum.add(value)
            }

            fn histogram(sum: $histograms) -> Histogram {
                sum.finish()
            }
        }
    };
}

running!(Sum, HistogramSum);
running!(Mean, HistogramMean);

/// Histograms of a group: rare, so behind a pointer.
#[derive(Clone)]
struct Mixed<H> {
    /// None: floats came first, or the layouts do not go together.
    sum: Option<H>,
    failed: bool,
    reset: bool,
    no_reset: bool,
}

/// `sum`, `avg`
#[derive(Clone)]
pub(super) struct Total<R: Running> {
    floats: Option<R>,
    histograms: Option<Box<Mixed<R::Histograms>>>,
}

impl<R: Running> Default for Total<R> {
    fn default() -> Self {
        Self { floats: None, histograms: None }
    }
}

impl<R: Running> Accumulate for Total<R> {
    #[inline]
    fn float(&mut self, value: f64) {
        match &mut self.floats {
            Some(sum) => sum.add(value),
            None => self.floats = Some(R::of(value)),
        }
    }

    fn histogram(&mut self, value: &Arc<Histogram>, metric: &str, context: &Context<'_, '_>) {
        let first = self.histograms.is_none();
        let mixed = self.histograms.get_or_insert_with(|| {
            let sum = self.floats.is_none().then(|| R::of_histogram(value));
            Box::new(Mixed { sum, failed: false, reset: false, no_reset: false })
        });
        if mixed.failed {
            return;
        }
        mixed.reset |= value.reset_hint == ResetHint::Reset;
        mixed.no_reset |= value.reset_hint == ResetHint::NotReset;
        let (false, Some(sum)) = (first, &mut mixed.sum) else { return };
        match R::add_histogram(sum, value) {
            Ok(combined) if combined.bounds_reconciled => {
                context.evaluator.info(remark::reconciled("aggregation", context.position));
            }
            Ok(_) => {}
            Err(_) => {
                mixed.failed = true;
                context.evaluator.warn(remark::mixed_schemas(metric, context.position));
            }
        }
    }

    fn finish(self, context: &Context<'_, '_>) -> Option<SampleValue> {
        let Some(mixed) = self.histograms else {
            return self.floats.map(|sum| SampleValue::Float(sum.value()));
        };
        if self.floats.is_some() {
            context.evaluator.warn(remark::mixed_aggregation(context.position));
            return None;
        }
        if mixed.failed {
            return None;
        }
        if mixed.reset && mixed.no_reset {
            context.evaluator.warn(remark::reset_collision("aggregation", context.position));
        }
        let sum = R::histogram(mixed.sum?).compact(0);
        Some(SampleValue::Histogram(Arc::new(sum)))
    }
}
