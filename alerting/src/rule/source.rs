//! Rules over a [`Source`]: the threads that evaluate wait for its answers. Shell only.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    evaluate::Sink,
    model::{Answered, Ask, Histogram, Measure, Sample},
};
use crate::source::{RowValue, Source};

/// A source, asked from threads that may wait.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) source: Arc<dyn Source>,
    pub(super) handle: Handle,
}

impl Ask for Waiting {
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<Answered>, String> {
        let answer = self.handle.block_on(self.source.query(expr, at_ms));
        let rows = answer.map_err(|e| e.to_string())?.into_rows(at_ms);
        let rows = rows.ok_or("the answer is neither a vector nor a scalar; rules need one")?;
        let measure = |value| match value {
            RowValue::Float(value) => Measure::Float(value),
            RowValue::Histogram { text, json } => {
                Measure::Histogram(Histogram { text: text.into(), carried: Arc::new(json) })
            }
        };
        let answered = |row: crate::source::VectorRow| Answered {
            labels: row.labels,
            value: measure(row.value),
        };
        Ok(rows.into_iter().map(answered).collect())
    }
}

impl Sink for Waiting {
    fn write(&self, samples: Vec<Sample>) -> Result<(), String> {
        let histograms = samples.iter().filter(|s| s.value.float().is_none()).count();
        let floats = samples
            .into_iter()
            .filter_map(|s| Some((s.labels, s.timestamp_ms, s.value.float()?)))
            .collect();
        self.handle.block_on(self.source.write(floats)).map_err(|e| e.to_string())?;
        match histograms {
            0 => Ok(()),
            some => Err(format!(
                "{some} native histograms cannot be recorded; record histogram_quantile or \
                 histogram_count of them instead"
            )),
        }
    }
}
