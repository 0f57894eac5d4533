//! Answers are packed for whoever says so: JSON of many series shrinks to a tenth.

use std::io::Write;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt;

use super::Refusal;

/// Shorter answers gain nothing.
const BYTES_MIN: usize = 1_024;

/// Packs what is not packed yet.
pub(super) async fn gzip(request: Request, next: Next) -> Response {
    let wanted = request.headers().get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
    let wanted = wanted.is_some_and(accepts);
    let answer = next.run(request).await;
    if !wanted || answer.headers().contains_key(header::CONTENT_ENCODING) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let plain = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Refusal::internal(error.to_string()).into_response(),
    };
    parts.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if plain.len() < BYTES_MIN {
        return Response::from_parts(parts, Body::from(plain));
    }
    match tokio::task::spawn_blocking(move || pack(&plain)).await {
        Ok(Ok(packed)) => {
            parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::from(packed))
        }
        Ok(Err(error)) => Refusal::internal(error.to_string()).into_response(),
        Err(error) => Refusal::internal(error.to_string()).into_response(),
    }
}

fn pack(plain: &Bytes) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// Whether `Accept-Encoding` names gzip, and not with a weight of nothing.
fn accepts(header: &str) -> bool {
    header.split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named =
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        let refused = parts.any(|p| p.strip_prefix("q=").and_then(|q| q.parse().ok()) == Some(0.0));
        named && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_it() {
        for (header, wanted) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("*", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            assert_eq!(accepts(header), wanted, "{header}");
        }
    }
}
