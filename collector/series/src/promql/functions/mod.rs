//! The functions of the language: their names, their types, and a file per family of them.

pub(crate) mod buckets;
pub(crate) mod date;
pub(crate) mod extended;
pub(crate) mod math;
pub(crate) mod over_time;
pub(crate) mod rate;

use self::{date::DatePart, math::Math};
use crate::promql::plan::Kind;

/// A function over a range vector, one series at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OverTime {
    Avg,
    Changes,
    Count,
    Delta,
    Deriv,
    DoubleExponentialSmoothing,
    First,
    Idelta,
    Increase,
    Irate,
    Last,
    Mad,
    Max,
    Min,
    PredictLinear,
    Present,
    Quantile,
    Rate,
    Resets,
    Stddev,
    Stdvar,
    Sum,
    TsOfFirst,
    TsOfLast,
    TsOfMax,
    TsOfMin,
}

impl OverTime {
    /// The function's name, where errors need it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Avg => "avg_over_time",
            Self::Changes => "changes",
            Self::Count => "count_over_time",
            Self::Delta => "delta",
            Self::Deriv => "deriv",
            Self::DoubleExponentialSmoothing => "double_exponential_smoothing",
            Self::First => "first_over_time",
            Self::Idelta => "idelta",
            Self::Increase => "increase",
            Self::Irate => "irate",
            Self::Last => "last_over_time",
            Self::Mad => "mad_over_time",
            Self::Max => "max_over_time",
            Self::Min => "min_over_time",
            Self::PredictLinear => "predict_linear",
            Self::Present => "present_over_time",
            Self::Quantile => "quantile_over_time",
            Self::Rate => "rate",
            Self::Resets => "resets",
            Self::Stddev => "stddev_over_time",
            Self::Stdvar => "stdvar_over_time",
            Self::Sum => "sum_over_time",
            Self::TsOfFirst => "ts_of_first_over_time",
            Self::TsOfLast => "ts_of_last_over_time",
            Self::TsOfMax => "ts_of_max_over_time",
            Self::TsOfMin => "ts_of_min_over_time",
        }
    }

    pub(crate) fn rate_kind(self) -> rate::RateKind {
        rate::RateKind { counter: self != Self::Delta, per_second: self == Self::Rate }
    }
}

/// A number taken from a native histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HistogramPart {
    Avg,
    Count,
    Stddev,
    Stdvar,
    Sum,
}

/// A function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Math(Math),
    Clamp,
    ClampMax,
    ClampMin,
    Round,
    Date(DatePart),
    OverTime(OverTime),
    AbsentOverTime,
    Absent,
    HistogramPart(HistogramPart),
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    LabelReplace,
    LabelJoin,
    Info,
    Sort,
    SortDesc,
    SortByLabel,
    SortByLabelDesc,
    Timestamp,
    StartTimestamp,
    Vector,
    Scalar,
    Time,
    Pi,
    MaxOf,
    MinOf,
    Start,
    End,
    Step,
    Range,
}

impl Function {
    /// Whether of the histograms below it count and sum are enough (`None`: whatever is asked above it).
    pub(crate) fn asks_parts(self) -> Option<bool> {
        match self {
            Self::HistogramPart(HistogramPart::Avg | HistogramPart::Count | HistogramPart::Sum) => {
                Some(true)
            }
            Self::HistogramQuantile | Self::HistogramQuantiles | Self::HistogramFraction => {
                Some(false)
            }
            _ => None,
        }
    }

    /// The function of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        use OverTime as Over;
        Some(match name {
            "absent" => Self::Absent,
            "absent_over_time" => Self::AbsentOverTime,
            "avg_over_time" => Self::OverTime(Over::Avg),
            "changes" => Self::OverTime(Over::Changes),
            "clamp" => Self::Clamp,
            "clamp_max" => Self::ClampMax,
            "clamp_min" => Self::ClampMin,
            "count_over_time" => Self::OverTime(Over::Count),
            "delta" => Self::OverTime(Over::Delta),
            "deriv" => Self::OverTime(Over::Deriv),
            "double_exponential_smoothing" => Self::OverTime(Over::DoubleExponentialSmoothing),
            "end" => Self::End,
            "first_over_time" => Self::OverTime(Over::First),
            "histogram_avg" => Self::HistogramPart(HistogramPart::Avg),
            "histogram_count" => Self::HistogramPart(HistogramPart::Count),
            "histogram_fraction" => Self::HistogramFraction,
            "histogram_quantile" => Self::HistogramQuantile,
            "histogram_quantiles" => Self::HistogramQuantiles,
            "histogram_stddev" => Self::HistogramPart(HistogramPart::Stddev),
            "histogram_stdvar" => Self::HistogramPart(HistogramPart::Stdvar),
            "histogram_sum" => Self::HistogramPart(HistogramPart::Sum),
            "idelta" => Self::OverTime(Over::Idelta),
            "increase" => Self::OverTime(Over::Increase),
            "info" => Self::Info,
            "irate" => Self::OverTime(Over::Irate),
            "label_join" => Self::LabelJoin,
            "label_replace" => Self::LabelReplace,
            "last_over_time" => Self::OverTime(Over::Last),
            "mad_over_time" => Self::OverTime(Over::Mad),
            "max_of" => Self::MaxOf,
            "max_over_time" => Self::OverTime(Over::Max),
            "min_of" => Self::MinOf,
            "min_over_time" => Self::OverTime(Over::Min),
            "pi" => Self::Pi,
            "predict_linear" => Self::OverTime(Over::PredictLinear),
            "present_over_time" => Self::OverTime(Over::Present),
            "quantile_over_time" => Self::OverTime(Over::Quantile),
            "range" => Self::Range,
            "rate" => Self::OverTime(Over::Rate),
            "resets" => Self::OverTime(Over::Resets),
            "round" => Self::Round,
            "scalar" => Self::Scalar,
            "sort" => Self::Sort,
            "sort_by_label" => Self::SortByLabel,
            "sort_by_label_desc" => Self::SortByLabelDesc,
            "sort_desc" => Self::SortDesc,
            "start" => Self::Start,
            "start_timestamp" => Self::StartTimestamp,
            "stddev_over_time" => Self::OverTime(Over::Stddev),
            "stdvar_over_time" => Self::OverTime(Over::Stdvar),
            "step" => Self::Step,
            "sum_over_time" => Self::OverTime(Over::Sum),
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "ts_of_first_over_time" => Self::OverTime(Over::TsOfFirst),
            "ts_of_last_over_time" => Self::OverTime(Over::TsOfLast),
            "ts_of_max_over_time" => Self::OverTime(Over::TsOfMax),
            "ts_of_min_over_time" => Self::OverTime(Over::TsOfMin),
            "vector" => Self::Vector,
            other => {
                let math = Math::named(other).map(Self::Math);
                return math.or_else(|| DatePart::named(other).map(Self::Date));
            }
        })
    }

    /// The type of its value.
    pub(crate) fn returns(self) -> Kind {
        match self {
            Self::Scalar
            | Self::Time
            | Self::Pi
            | Self::MaxOf
            | Self::MinOf
            | Self::Start
            | Self::End
            | Self::Step
            | Self::Range => Kind::Scalar,
            _ => Kind::Vector,
        }
    }
}
