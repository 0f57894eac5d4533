//! The messages of Prometheus's remote write 1.0 and remote read (`prometheus/prompb/remote.proto`, `types.proto`), in our own
//! words, as far as they are spoken here: metadata and exemplars are passed over.

use prost::Message;

/// `prometheus.WriteRequest`
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// What is written.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// In the order of their times.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Native histograms, in the order of their times.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<Histogram>,
}

/// `prometheus.Label`
#[derive(Clone, PartialEq, Message)]
pub struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `prometheus.Sample`
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// Any float.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since 1970-01-01 UTC.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// `prometheus.Histogram`
#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    /// Observations, of a whole histogram.
    #[prost(uint64, optional, tag = "1")]
    pub count_int: Option<u64>,
    /// Observations, of a float histogram.
    #[prost(double, optional, tag = "2")]
    pub count_float: Option<f64>,
    /// Their sum.
    #[prost(double, tag = "3")]
    pub sum: f64,
    /// How fine its buckets are.
    #[prost(sint32, tag = "4")]
    pub schema: i32,
    /// How wide the bucket around zero is.
    #[prost(double, tag = "5")]
    pub zero_threshold: f64,
    /// What is in it, of a whole histogram.
    #[prost(uint64, optional, tag = "6")]
    pub zero_count_int: Option<u64>,
    /// What is in it, of a float histogram.
    #[prost(double, optional, tag = "7")]
    pub zero_count_float: Option<f64>,
    /// Where buckets below zero are.
    #[prost(message, repeated, tag = "8")]
    pub negative_spans: Vec<BucketSpan>,
    /// Each bucket minus the one before; of whole histograms.
    #[prost(sint64, repeated, tag = "9")]
    pub negative_deltas: Vec<i64>,
    /// Of float histograms.
    #[prost(double, repeated, tag = "10")]
    pub negative_counts: Vec<f64>,
    /// Where buckets above zero are.
    #[prost(message, repeated, tag = "11")]
    pub positive_spans: Vec<BucketSpan>,
    /// Each bucket minus the one before; of whole histograms.
    #[prost(sint64, repeated, tag = "12")]
    pub positive_deltas: Vec<i64>,
    /// Of float histograms.
    #[prost(double, repeated, tag = "13")]
    pub positive_counts: Vec<f64>,
    /// 0 unknown, 1 reset, 2 none, 3 gauge.
    #[prost(int32, tag = "14")]
    pub reset_hint: i32,
    /// Milliseconds since 1970-01-01 UTC.
    #[prost(int64, tag = "15")]
    pub timestamp: i64,
    /// Bounds of buckets, of a histogram with its own.
    #[prost(double, repeated, tag = "16")]
    pub custom_values: Vec<f64>,
}

/// `prometheus.BucketSpan`
#[derive(Clone, PartialEq, Message)]
pub struct BucketSpan {
    /// Buckets between the span before and this one.
    #[prost(sint32, tag = "1")]
    pub offset: i32,
    /// Buckets in it.
    #[prost(uint32, tag = "2")]
    pub length: u32,
}

/// `prometheus.ReadRequest`
#[derive(Clone, PartialEq, Message)]
pub struct ReadRequest {
    /// What is asked.
    #[prost(message, repeated, tag = "1")]
    pub queries: Vec<Query>,
    /// `SAMPLES` is 0, `STREAMED_XOR_CHUNKS` 1.
    #[prost(int32, repeated, tag = "2")]
    pub accepted_response_types: Vec<i32>,
}

/// `prometheus.Query`
#[derive(Clone, PartialEq, Message)]
pub struct Query {
    /// First time.
    #[prost(int64, tag = "1")]
    pub start_timestamp_ms: i64,
    /// Last time.
    #[prost(int64, tag = "2")]
    pub end_timestamp_ms: i64,
    /// Which series.
    #[prost(message, repeated, tag = "3")]
    pub matchers: Vec<LabelMatcher>,
}

/// `prometheus.LabelMatcher`
#[derive(Clone, PartialEq, Message)]
pub struct LabelMatcher {
    /// `=`, `!=`, `=~`, `!~` are 0 to 3.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The label's name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// What it is compared with.
    #[prost(string, tag = "3")]
    pub value: String,
}

/// `prometheus.ReadResponse`
#[derive(Clone, PartialEq, Message)]
pub struct ReadResponse {
    /// One for each query.
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<QueryResult>,
}

/// `prometheus.QueryResult`
#[derive(Clone, PartialEq, Message)]
pub struct QueryResult {
    /// What was found.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// `prometheus.ChunkedReadResponse`
#[derive(Clone, PartialEq, Message)]
pub struct ChunkedReadResponse {
    /// Some of what was found.
    #[prost(message, repeated, tag = "1")]
    pub chunked_series: Vec<ChunkedSeries>,
    /// For which query.
    #[prost(int64, tag = "2")]
    pub query_index: i64,
}

/// `prometheus.ChunkedSeries`
#[derive(Clone, PartialEq, Message)]
pub struct ChunkedSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// In the order of their times.
    #[prost(message, repeated, tag = "2")]
    pub chunks: Vec<Chunk>,
}

/// `prometheus.Chunk`
#[derive(Clone, PartialEq, Message)]
pub struct Chunk {
    /// Time of the first sample.
    #[prost(int64, tag = "1")]
    pub min_time_ms: i64,
    /// Time of the last sample.
    #[prost(int64, tag = "2")]
    pub max_time_ms: i64,
    /// XOR is 1.
    #[prost(int32, tag = "3")]
    pub kind: i32,
    /// The samples.
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
}
