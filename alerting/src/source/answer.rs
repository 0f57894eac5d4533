//! What an expression's value is, whoever evaluated it. Nothing here knows how it travels.

use std::{collections::BTreeMap, sync::Arc};

use watchkeep_catalog::prompb;

/// The answer to an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryAnswer {
    /// Its value.
    pub data: QueryData,
    /// What makes the value doubtful.
    pub warnings: Vec<String>,
    /// What may be a mistake in the expression.
    pub infos: Vec<String>,
}

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryData {
    /// One number.
    Scalar(f64),
    /// A string literal.
    String(String),
    /// Series with one value each.
    Vector(Vec<VectorRow>),
    /// Series with values over time.
    Matrix(Vec<MatrixRow>),
}

/// A series with one value.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorRow {
    /// Its labels; most functions have dropped `__name__`.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its value.
    pub value: RowValue,
}

/// A series with values over time.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixRow {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since 1970 and values, in the order of time.
    pub points: Vec<(i64, RowValue)>,
}

/// A number or a native histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum RowValue {
    /// A number.
    Float(f64),
    /// A native histogram: nobody here computes with one.
    Histogram {
        /// As Prometheus prints it: `{count:3, sum:4.5, [1,2):3}`. Empty when the data source does not say.
        text: String,
        /// As remote write has it, its time left out; none where the data source does not say so much.
        native: Option<Arc<prompb::Histogram>>,
    },
}

impl RowValue {
    /// The number, if it is one.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram { .. } => None,
        }
    }
}

impl QueryAnswer {
    /// The rows of a vector; a scalar is one row without labels at `at_ms`, as a rule takes it. None for the rest.
    #[must_use]
    pub fn into_rows(self, at_ms: i64) -> Option<Vec<VectorRow>> {
        match self.data {
            QueryData::Vector(rows) => Some(rows),
            QueryData::Scalar(value) => Some(vec![VectorRow {
                labels: BTreeMap::new(),
                timestamp_ms: at_ms,
                value: RowValue::Float(value),
            }]),
            QueryData::String(_) | QueryData::Matrix(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_takes_vectors_and_scalars() {
        let answer = |data| QueryAnswer { data, warnings: vec![], infos: vec![] };
        let row = VectorRow {
            labels: [("a".to_owned(), "b".to_owned())].into(),
            timestamp_ms: 1,
            value: RowValue::Float(2.0),
        };
        let rows = answer(QueryData::Vector(vec![row.clone()])).into_rows(5);
        assert_eq!(rows, Some(vec![row]));
        let rows = answer(QueryData::Scalar(3.0)).into_rows(5).expect("a row");
        assert_eq!((rows[0].timestamp_ms, rows[0].value.float()), (5, Some(3.0)));
        assert_eq!(answer(QueryData::String("x".into())).into_rows(5), None);
        assert_eq!(answer(QueryData::Matrix(vec![])).into_rows(5), None);
    }
}
