//! One series over all steps of an evaluation, and the steps themselves.

use std::sync::Arc;

use crate::{
    Histogram, Labels,
    promql::SampleValue,
    query::{STALE_NAN_BITS, is_stale},
};

/// No value at a step. No result has these bits: arithmetic on them sets the quiet bit, and as a sample they
/// mean that there is none.
pub(crate) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// The times at which an expression is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) start_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) count: usize,
}

impl Steps {
    pub(crate) fn at(&self, index: usize) -> i64 {
        self.start_ms + self.step_ms * i64::try_from(index).unwrap_or(i64::MAX)
    }

    pub(crate) fn end_ms(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let steps = *self;
        (0..steps.count).map(move |index| steps.at(index))
    }
}

/// What a series has at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cell<'a> {
    Absent,
    Float(f64),
    Histogram(&'a Arc<Histogram>),
}

/// A series over all steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    /// The name is to be dropped when the query ends (or in a result label set).
    pub(crate) drop_name: bool,
    /// One per step, [`ABSENT`] where there is no float.
    pub(crate) floats: Vec<f64>,
    /// Empty when there is none at all; otherwise one per step.
    pub(crate) histograms: Vec<Option<Arc<Histogram>>>,
}

impl Row {
    /// An empty row, reusing the room of this one.
    pub(crate) fn reset(&mut self, labels: &Labels, drop_name: bool, steps: usize) {
        self.labels = labels.clone();
        self.drop_name = drop_name;
        self.floats.clear();
        self.floats.resize(steps, ABSENT);
        self.histograms.clear();
    }

    pub(crate) fn new(labels: Labels, drop_name: bool, steps: usize) -> Self {
        Self { labels, drop_name, floats: vec![ABSENT; steps], histograms: Vec::new() }
    }

    pub(crate) fn cell(&self, step: usize) -> Cell<'_> {
        if let Some(Some(histogram)) = self.histograms.get(step) {
            return Cell::Histogram(histogram);
        }
        let value = self.floats[step];
        if is_stale(value) { Cell::Absent } else { Cell::Float(value) }
    }

    pub(crate) fn set(&mut self, step: usize, value: Option<SampleValue>) {
        match value {
            None => self.clear(step),
            Some(SampleValue::Float(float)) => {
                self.clear(step);
                // A result may be any NaN, but not the marker.
                self.floats[step] = if is_stale(float) { f64::NAN } else { float };
            }
            Some(SampleValue::Histogram(histogram)) => self.set_histogram(step, histogram),
        }
    }

    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.floats[step] = ABSENT;
        self.histograms[step] = Some(histogram);
    }

    pub(crate) fn clear(&mut self, step: usize) {
        self.floats[step] = ABSENT;
        if let Some(histogram) = self.histograms.get_mut(step) {
            *histogram = None;
        }
    }

    pub(crate) fn has(&self, step: usize) -> bool {
        self.cell(step) != Cell::Absent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.floats.iter().all(|v| is_stale(*v)) && self.histograms.iter().all(Option::is_none)
    }

    /// Applies `f` to every value that is there.
    pub(crate) fn map(&mut self, mut f: impl FnMut(usize, Cell<'_>) -> Option<SampleValue>) {
        if self.histograms.is_empty() {
            for step in 0..self.floats.len() {
                let value = self.floats[step];
                if is_stale(value) {
                    continue;
                }
                match f(step, Cell::Float(value)) {
                    Some(SampleValue::Float(float)) if !is_stale(float) => {
                        self.floats[step] = float
                    }
                    other => self.set(step, other),
                }
            }
            return;
        }
        for step in 0..self.floats.len() {
            let value = match self.cell(step) {
                Cell::Absent => continue,
                cell => f(step, cell),
            };
            self.set(step, value);
        }
    }
}
