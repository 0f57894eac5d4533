//! `POST /api/v1/read`: Prometheus's remote read. Samples in one message, or streamed as XOR chunks where the client takes
//! those and no native histogram is among them.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::post,
};
use prost::Message;
use watchkeep_catalog::prompb::{self, ReadRequest};
use watchkeep_series::{Labels, Matcher, Points, Queryable, SeriesError, promql::EvalError};

use super::{Asked, answer::Refusal, chunk};
use crate::{native, querier::go_on};

/// Largest request, once it is decompressed.
const REQUEST_BYTES_MAX: usize = 8 << 20;
/// `STREAMED_XOR_CHUNKS`
const STREAMED: i32 = 1;
/// `XOR`
const XOR: i32 = 1;
const SAMPLES_TYPE: &str = "application/x-protobuf";
const STREAMED_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

pub(super) fn router(asked: Asked) -> Router {
    Router::new().route("/api/v1/read", post(read)).with_state(asked)
}

/// The series of one query.
type Found = Vec<(Labels, Points)>;

async fn read(State(asked): State<Asked>, body: Bytes) -> Result<Response, Refusal> {
    let querier = asked.querier()?;
    let request = decode(&body)?;
    let streams = request.accepted_response_types.contains(&STREAMED);
    let queries: Vec<_> = request
        .queries
        .iter()
        .map(|query| Ok((matchers(query)?, query.start_timestamp_ms, query.end_timestamp_ms)))
        .collect::<Result<_, Refusal>>()?;
    let samples_max = querier.config().samples_max;
    let answer = querier.run(None, move |store, stop| {
        let mut found = Vec::with_capacity(queries.len());
        for (matchers, from_ms, to_ms) in &queries {
            found.push(select(store, matchers, (*from_ms, *to_ms), samples_max, stop)?);
        }
        let simple = found.iter().flatten().all(|(_, points)| points.histograms.is_empty());
        Ok(if streams && simple { (true, streamed(&found)) } else { (false, whole(found)) })
    });
    let ((streams, body), _) = answer.await?;
    Ok(if streams {
        ([(header::CONTENT_TYPE, STREAMED_TYPE)], body).into_response()
    } else {
        let head = [(header::CONTENT_TYPE, SAMPLES_TYPE), (header::CONTENT_ENCODING, "snappy")];
        (head, body).into_response()
    })
}

fn decode(body: &[u8]) -> Result<ReadRequest, Refusal> {
    let wrong = |error: String| {
        Refusal::bad_data(format!(
            "the body is not a prometheus.ReadRequest in a snappy block: {error}"
        ))
    };
    let size = snap::raw::decompress_len(body).map_err(|e| wrong(e.to_string()))?;
    if size > REQUEST_BYTES_MAX {
        return Err(wrong(format!("{size} bytes decompressed, at most {REQUEST_BYTES_MAX}")));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(body).map_err(|e| wrong(e.to_string()))?;
    ReadRequest::decode(&*plain).map_err(|e| wrong(e.to_string()))
}

fn matchers(query: &prompb::Query) -> Result<Vec<Matcher>, Refusal> {
    let wrong = |error: SeriesError| Refusal::bad_data(error.to_string());
    let of = |matcher: &prompb::LabelMatcher| {
        let (name, value) = (matcher.name.clone(), matcher.value.clone());
        match matcher.kind {
            0 => Ok(Matcher::Equal(name, value)),
            1 => Ok(Matcher::NotEqual(name, value)),
            2 => Matcher::regex(&name, &value).map_err(wrong),
            3 => Matcher::not_regex(&name, &value).map_err(wrong),
            other => Err(Refusal::bad_data(format!("matcher of type {other}: 0 to 3 are known"))),
        }
    };
    query.matchers.iter().map(of).collect()
}

fn select(
    store: &dyn Queryable,
    matchers: &[Matcher],
    (from_ms, to_ms): (i64, i64),
    samples_max: usize,
    stop: &dyn Fn() -> bool,
) -> Result<Found, EvalError> {
    let mut found = Vec::new();
    store.select(matchers, from_ms, to_ms, samples_max, &mut |labels, points| {
        go_on(stop)?;
        found.push((labels.clone(), std::mem::take(points)));
        Ok(())
    })?;
    Ok(found)
}

fn labels(labels: &Labels) -> Vec<prompb::Label> {
    let label =
        |(name, value): (&str, &str)| prompb::Label { name: name.into(), value: value.into() };
    labels.iter().map(label).collect()
}

/// One message in a snappy block.
fn whole(found: Vec<Found>) -> Vec<u8> {
    let series = |(of, points): (Labels, Points)| prompb::TimeSeries {
        labels: labels(&of),
        samples: points
            .floats
            .iter()
            .map(|s| prompb::Sample { value: s.value, timestamp: s.timestamp_ms })
            .collect(),
        histograms: points
            .histograms
            .iter()
            .map(|s| native::message(&s.value, s.timestamp_ms))
            .collect(),
    };
    let results = found
        .into_iter()
        .map(|one| prompb::QueryResult { timeseries: one.into_iter().map(series).collect() })
        .collect();
    let plain = prompb::ReadResponse { results }.encode_to_vec();
    // Fails only beyond 4 GiB.
    snap::raw::Encoder::new().compress_vec(&plain).unwrap_or_default()
}

/// A frame for each series: its length, its CRC-32C, a message.
fn streamed(found: &[Found]) -> Vec<u8> {
    let mut body = Vec::new();
    for (at, one) in found.iter().enumerate() {
        for (of, points) in one {
            let chunks = points.floats.chunks(chunk::SAMPLES_MAX).map(|samples| prompb::Chunk {
                min_time_ms: samples.first().map_or(0, |s| s.timestamp_ms),
                max_time_ms: samples.last().map_or(0, |s| s.timestamp_ms),
                kind: XOR,
                data: chunk::encode(samples),
            });
            let series = prompb::ChunkedSeries { labels: labels(of), chunks: chunks.collect() };
            let query_index = i64::try_from(at).unwrap_or(i64::MAX);
            let message = prompb::ChunkedReadResponse { chunked_series: vec![series], query_index };
            let message = message.encode_to_vec();
            prost::encoding::encode_varint(message.len() as u64, &mut body);
            body.extend(crc32c::crc32c(&message).to_be_bytes());
            body.extend(message);
        }
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused() {
        let pack = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).expect("small");
        for (body, words) in [
            (vec![0xff; 9], "in a snappy block"),
            (pack(&[0x0a]), "in a snappy block"),
            (vec![0xff, 0xff, 0xff, 0x7f], "bytes decompressed"),
        ] {
            let refusal = decode(&body).expect_err(words);
            assert!(refusal.message.contains(words), "{}", refusal.message);
        }
        let with = |kind, value: &str| prompb::Query {
            matchers: vec![prompb::LabelMatcher { kind, name: "a".into(), value: value.into() }],
            ..prompb::Query::default()
        };
        assert!(matchers(&with(3, "b|c")).is_ok());
        assert!(matchers(&with(2, "(")).is_err());
        assert!(matchers(&with(4, "")).is_err());
    }

    #[test]
    fn frames_are_told_apart() {
        let sample = watchkeep_series::Sample { timestamp_ms: 1, value: 1.0 };
        let points = Points { floats: vec![sample; 1], ..Points::default() };
        let up = Labels::new([("__name__", "up")]);
        let body = streamed(&[vec![], vec![(up, points)]]);
        let length = usize::from(body[0]);
        assert_eq!(body.len(), 5 + length);
        let message = prompb::ChunkedReadResponse::decode(&body[5..]).expect("a message");
        assert_eq!(message.query_index, 1);
        assert_eq!(message.chunked_series[0].chunks[0].max_time_ms, 1);
        assert_eq!(body[1..5], crc32c::crc32c(&body[5..]).to_be_bytes());
    }
}
