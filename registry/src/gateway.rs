//! The etcd API as JSON over HTTP/1.1 and HTTP/2, on the same port as gRPC: `POST /v3/kv/put` and its kin, as etcd's own
//! gateway answers them. A request is turned into a gRPC call of the services beside it, by the descriptors of the
//! `.proto` files; nothing here knows what a method does (decision record 6).
//!
//! ```text
//! curl -d '{"key":"Zm9v"}' …:2379/v3/kv/range  ─▶ routes ─▶ json (decode) ─▶ call (gRPC, in process) ─▶ json (encode)
//! {"header":{…},"kvs":[{"key":"Zm9v","create_revision":"2","mod_revision":"2","version":"1","value":"YmFy"}],"count":"1"}
//! ```
//!
//! The mapping is protobuf's, with the names of the `.proto` files: 64-bit numbers are strings, bytes are base64, enum
//! values are names, and what has its default value is left out. Unknown fields are ignored, as etcd does. Streams
//! (`/v3/watch`, `/v3/lease/keepalive`, `/v3/maintenance/snapshot`) take any number of JSON messages in the body and
//! answer one `{"result":{…}}` a line.

mod call;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod json;
mod problem;
mod requests;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost_reflect::DescriptorPool;
use tonic::Status;

use call::{Answers, frame};
use json::Codec;
use problem::Problem;
use requests::Requests;
use routes::{PREFIXES, ROUTES};

/// Largest JSON body of a unary request, and largest message of a stream: 2 MiB of gRPC (1.5 MiB of request and 512 KiB
/// around it, etcd's limit), a third more in base64.
const JSON_BYTES_MAX: usize = (2 << 20) / 3 * 4;

/// The routes under `/v3/`, which call `grpc` in this process.
pub(crate) fn router(grpc: Router) -> Router {
    let pool = DescriptorPool::decode(watchkeep_api::DESCRIPTORS)
        .expect("build.rs compiled these descriptors");
    let mut router = Router::new();
    for (path, service, method) in ROUTES {
        let codec = Codec::new(&pool, service, method).unwrap_or_else(|| {
            panic!("{service}.{method} is in the .proto files: a test looks it up")
        });
        let (codec, grpc) = (Arc::new(codec), grpc.clone());
        let handler = move |request: Request| answer(codec, grpc, request);
        for prefix in PREFIXES {
            let path = path.replacen("/v3/", prefix, 1);
            router = router.route(&path, post(handler.clone()).fallback(refuse_method));
        }
    }
    for prefix in PREFIXES {
        router = router.route(&format!("{prefix}{{*path}}"), axum::routing::any(refuse_path));
    }
    router
}

/// One call: its answer, or what went wrong, as JSON either way.
async fn answer(codec: Arc<Codec>, grpc: Router, request: Request) -> Response {
    let answered = if codec.streams() {
        streaming(codec, grpc, request).await
    } else {
        unary(&codec, grpc, request).await
    };
    answered.unwrap_or_else(Problem::into_response)
}

async fn unary(codec: &Codec, grpc: Router, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body =
        axum::body::to_bytes(body, JSON_BYTES_MAX).await.map_err(|_| Problem::too_large())?;
    let message = frame(&codec.decode(&body)?);
    let mut answers = Answers::call(grpc, codec.path(), &parts, Body::from(message)).await?;
    let message =
        answers.next().await?.ok_or_else(|| Status::internal("the call had no answer"))?;
    // The status comes after the message: an answer counts only with it.
    if answers.next().await?.is_some() {
        return Err(Status::internal("the call had more than one answer").into());
    }
    Ok(respond(Body::from(codec.encode(&message)?)))
}

/// Sends each message of the body as it comes, and a line for each answer. Until the first answer is there an error is an
/// HTTP error; after that it is the last line.
async fn streaming(codec: Arc<Codec>, grpc: Router, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mut requests = Requests::new(body);
    // A first message that is wrong is the client's error; a body without any is an empty stream.
    let first = match requests.next().await? {
        Some(message) => vec![Ok(frame(&codec.decode(&message)?))],
        None if codec.streams_requests() => Vec::new(),
        None => vec![Ok(frame(&codec.decode(b"")?))],
    };
    let rest =
        stream::try_unfold((requests, Arc::clone(&codec)), |(mut requests, codec)| async move {
            let Some(message) = requests.next().await? else { return Ok::<_, Problem>(None) };
            Ok(Some((frame(&codec.decode(&message)?), (requests, codec))))
        });
    let body = Body::from_stream(stream::iter(first).chain(rest));
    let mut answers = Answers::call(grpc, codec.path(), &parts, body).await?;
    let Some(first) = answers.next().await? else { return Ok(respond(Body::empty())) };
    let first = line(&codec, &first)?;
    Ok(respond(Body::from_stream(stream::once(async { Ok(first) }).chain(lines(codec, answers)))))
}

/// The other answers, and the error that ends them, if one does.
fn lines(
    codec: Arc<Codec>,
    answers: Answers,
) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> {
    stream::try_unfold((codec, answers), |(codec, mut answers)| async move {
        let Some(message) = answers.next().await? else { return Ok::<_, Problem>(None) };
        Ok(Some((line(&codec, &message)?, (codec, answers))))
    })
    .or_else(|problem| async move { Ok(problem.line()) })
}

fn line(codec: &Codec, message: &Bytes) -> Result<Bytes, Problem> {
    let mut line = b"{\"result\":".to_vec();
    line.extend(codec.encode(message)?);
    line.extend(b"}\n");
    Ok(line.into())
}

fn respond(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn refuse_method(method: Method, request: Request) -> Response {
    let what = format!("{method} {}: this path takes POST with a JSON body", request.uri().path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Status::unimplemented(what)).into_response()
}

/// For a path that belongs to nobody.
pub(crate) fn nothing_at(method: &Method, path: &str) -> Response {
    let what = format!(
        "{method} {path}: there is nothing here; gRPC, /v3/…, /health, /livez, /readyz, /version and /metrics are"
    );
    Problem::new(StatusCode::NOT_FOUND, Status::not_found(what)).into_response()
}

async fn refuse_path(request: Request) -> Response {
    let path = request.uri().path();
    let what =
        format!("{path}: there is no such method in the v3 API; see /v3/kv/range, /v3/kv/put, …");
    Problem::new(StatusCode::NOT_FOUND, Status::not_found(what)).into_response()
}
