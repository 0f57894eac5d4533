//! Rules over a [`Source`]: the threads that evaluate wait for its answers. Shell only.

use std::sync::Arc;

use tokio::runtime::Handle;
use watchkeep_catalog::prompb;

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
            RowValue::Histogram { text, native } => {
                Measure::Histogram(Histogram { text: text.into(), carried: Arc::new(native) })
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
        let (mut floats, mut histograms, mut unknown) = (Vec::new(), Vec::new(), 0_usize);
        for Sample { labels, timestamp_ms, value } in samples {
            match value {
                Measure::Float(value) => floats.push((labels, timestamp_ms, value)),
                Measure::Histogram(histogram) => match native(&histogram) {
                    Some(native) => {
                        let timed = prompb::Histogram { timestamp: timestamp_ms, ..native };
                        histograms.push((labels, timed));
                    }
                    None => unknown += 1,
                },
            }
        }
        let write = async {
            self.source.write(floats).await?;
            if histograms.is_empty() {
                Ok(())
            } else {
                self.source.write_histograms(histograms).await
            }
        };
        self.handle.block_on(write).map_err(|e| e.to_string())?;
        match unknown {
            0 => Ok(()),
            some => Err(format!(
                "{some} native histograms cannot be recorded, since the data source shows them without their schema; \
                 record histogram_quantile or histogram_count of them instead"
            )),
        }
    }
}

/// As [`RowValue::Histogram`] carried it here.
fn native(histogram: &Histogram) -> Option<prompb::Histogram> {
    let carried = histogram.carried.downcast_ref::<Option<Arc<prompb::Histogram>>>()?;
    carried.as_deref().cloned()
}
