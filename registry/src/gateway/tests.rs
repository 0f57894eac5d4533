//! The gateway over services that answer what a test needs. Expected texts are what etcd 3.4's gateway answered to the
//! same requests, but for numbers that differ from store to store.

use std::{pin::Pin, time::Duration};

use axum::{Router, body::Body, http::StatusCode};
use futures::{Stream, StreamExt};
use http::{Method, Request};
use http_body_util::BodyExt;
use prost_reflect::DescriptorPool;
use tonic::{Response, Status, Streaming, service::Routes};
use tower::ServiceExt;
use watchkeep_api::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
        PutResponse, RangeRequest, RangeResponse, RangeStreamResponse, ResponseHeader, ResponseOp,
        TxnRequest, TxnResponse, WatchRequest, WatchResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        kv_server::{Kv, KvServer},
        range_request::{SortOrder, SortTarget},
        request_op, response_op,
        watch_request::RequestUnion,
        watch_server::{Watch, WatchServer},
    },
    mvccpb::{Event, KeyValue, event::EventType},
};

use super::{JSON_BYTES_MAX, json::Codec, router, routes::ROUTES};

const DEADLINE: Duration = Duration::from_secs(20);

/// Answers with what it was asked.
struct Fake;

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { cluster_id: u64::MAX, member_id: 0, revision, raft_term: 2 })
}

#[tonic::async_trait]
impl Kv for Fake {
    type RangeStreamStream =
        Pin<Box<dyn Stream<Item = Result<RangeStreamResponse, Status>> + Send>>;

    async fn range_stream(
        &self,
        request: tonic::Request<RangeRequest>,
    ) -> Result<Response<Self::RangeStreamStream>, Status> {
        let whole = self.range(request).await?.into_inner();
        let part = RangeStreamResponse { range_response: Some(whole) };
        Ok(Response::new(Box::pin(futures::stream::once(async { Ok(part) }))))
    }

    async fn range(
        &self,
        request: tonic::Request<RangeRequest>,
    ) -> Result<Response<RangeResponse>, Status> {
        if request.metadata().get("grpcgateway-x").is_some() {
            return Err(Status::internal("headers that are nobody's business are not passed on"));
        }
        let request = request.into_inner();
        if request.key.is_empty() {
            return Err(Status::invalid_argument("etcdserver: key is not provided"));
        }
        let kv = KeyValue {
            key: request.key,
            value: request.range_end,
            create_revision: request.limit,
            mod_revision: request.revision,
            version: i64::from(request.sort_order) * 10 + i64::from(request.sort_target),
            lease: i64::from(request.serializable),
        };
        Ok(Response::new(RangeResponse { header: header(4), kvs: vec![kv], more: false, count: 1 }))
    }

    async fn put(
        &self,
        request: tonic::Request<PutRequest>,
    ) -> Result<Response<PutResponse>, Status> {
        let request = request.into_inner();
        match request.value.len() {
            0 => Err(Status::failed_precondition("etcdserver: über, \"quoted\" % and so on")),
            _ => Ok(Response::new(PutResponse { header: header(5), prev_kv: None })),
        }
    }

    async fn delete_range(
        &self,
        _: tonic::Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        Err(Status::unavailable("no leader"))
    }

    async fn txn(
        &self,
        request: tonic::Request<TxnRequest>,
    ) -> Result<Response<TxnResponse>, Status> {
        let request = request.into_inner();
        let compare = &request.compare[0];
        assert_eq!(compare.target(), CompareTarget::Create);
        assert_eq!(compare.result(), CompareResult::NotEqual);
        assert_eq!(compare.target_union, Some(TargetUnion::CreateRevision(9_007_199_254_740_993)));
        assert!(matches!(request.success[0].request, Some(request_op::Request::RequestPut(_))));
        let put =
            response_op::Response::ResponsePut(PutResponse { header: header(5), prev_kv: None });
        Ok(Response::new(TxnResponse {
            header: header(5),
            succeeded: true,
            responses: vec![ResponseOp { response: Some(put) }],
        }))
    }

    async fn compact(
        &self,
        _: tonic::Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        Ok(Response::new(CompactionResponse { header: None }))
    }
}

#[tonic::async_trait]
impl Watch for Fake {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    /// An answer for each request; a cancellation ends it with an error.
    async fn watch(
        &self,
        request: tonic::Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let answers = request.into_inner().map(|request| match request?.request_union {
            Some(RequestUnion::CreateRequest(create)) => {
                let kv = KeyValue { key: create.key, ..KeyValue::default() };
                let event = Event { r#type: EventType::Delete.into(), kv: Some(kv), prev_kv: None };
                let header = header(create.start_revision);
                Ok(WatchResponse { header, events: vec![event], ..WatchResponse::default() })
            }
            _ => Err(Status::out_of_range("etcdserver: no such watch")),
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn gateway() -> Router {
    let services = Routes::new(KvServer::new(Fake)).add_service(WatchServer::new(Fake));
    router(services.into_axum_router())
}

async fn send(method: Method, path: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("grpcgateway-x", "1")
        .body(body.into())
        .unwrap();
    let response = gateway().oneshot(request).await.unwrap();
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = tokio::time::timeout(DEADLINE, response.into_body().collect()).await.unwrap();
    (status, String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap())
}

async fn post(path: &str, body: impl Into<Body>) -> (u16, String) {
    let (status, text) = send(Method::POST, path, body).await;
    (status.as_u16(), text)
}

#[tokio::test]
async fn a_message_is_mapped_as_etcd_maps_it() {
    let body = r#"{"key":"Zm9v","range_end":"/+8=","limit":3,"revision":"-7","sortOrder":"DESCEND",
                   "sort_target":3,"serializable":true,"unknown":{"a":[1]},"min_mod_revision":null}"#;
    let (status, text) = post("/v3/kv/range", body).await;
    assert_eq!(
        text,
        concat!(
            r#"{"header":{"cluster_id":"18446744073709551615","revision":"4","raft_term":"2"},"kvs":[{"key":"Zm9v","#,
            r#""create_revision":"3","mod_revision":"-7","version":"23","value":"/+8=","lease":"1"}],"count":"1"}"#
        )
    );
    assert_eq!(status, 200);
    assert_eq!((SortOrder::Descend as i32, SortTarget::Mod as i32), (2, 3), "hence version 23");
}

#[tokio::test]
async fn a_transaction_goes_through() {
    let body = r#"{"compare":[{"createRevision":"9007199254740993","result":"NOT_EQUAL","target":"CREATE","key":"Zm9v"}],
                   "success":[{"requestPut":{"key":"Zm9v","value":"YmFy"}}]}"#;
    let header = r#"{"cluster_id":"18446744073709551615","revision":"5","raft_term":"2"}"#;
    let text = format!(
        r#"{{"header":{header},"succeeded":true,"responses":[{{"response_put":{{"header":{header}}}}}]}}"#
    );
    assert_eq!(post("/v3/kv/txn", body).await, (200, text));
    assert_eq!(post("/v3/kv/compaction", "").await, (200, "{}".into()));
}

#[tokio::test]
async fn an_error_says_what_and_in_which_code() {
    let key = r#"{"error":"etcdserver: key is not provided","message":"etcdserver: key is not provided","code":3}"#;
    let cases = [
        ("/v3/kv/range", "", 400, key),
        ("/v3/kv/range", " {} ", 400, key),
        ("/v3/kv/put", "{}", 400, r#""message":"etcdserver: über, \"quoted\" % and so on""#),
        ("/v3/kv/put", "{}", 400, r#""code":9"#),
        ("/v3/kv/deleterange", "{}", 503, r#""code":14"#),
        ("/v3/kv/range", "{\"key\":5}", 400, "the body is not a RangeRequest as JSON: "),
        ("/v3/kv/range", "{\"key\":\"~\"}", 400, "the body is not a RangeRequest as JSON: "),
        ("/v3/kv/range", "{\"limit\":\"9223372036854775808\"}", 400, "\"code\":3"),
        ("/v3/kv/range", "{\"key\":\"Zm9v\"", 400, "EOF while parsing"),
        ("/v3/kv/range", "{\"key\":\"Zm9v\"} {}", 400, "trailing characters"),
        ("/v3/kv/range", "[]", 400, "\"code\":3"),
        ("/v3/kv/nonsense", "{}", 404, "/v3/kv/nonsense: there is no such method in the v3 API"),
        ("/v3/lease/grant", "{}", 501, "\"code\":12"),
    ];
    for (path, body, status, text) in cases {
        let (found, answer) = post(path, body).await;
        assert_eq!(found, status, "{path} {body}: {answer}");
        let parsed: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert!(answer.contains(text), "{path} {body}: {parsed}");
        assert_eq!(parsed["error"], parsed["message"]);
    }
    let (status, text) = send(Method::GET, "/v3/kv/range", "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(text.contains("GET /v3/kv/range: this path takes POST"), "{text}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let body = |bytes: usize| format!(r#"{{"key":"Zm9v","value":"{}"}}"#, "A".repeat(bytes));
    assert_eq!(post("/v3/kv/put", body(1_400_000 / 3 * 4)).await.0, 200);
    for path in ["/v3/kv/put", "/v3/watch"] {
        let (status, text) = post(path, body(JSON_BYTES_MAX)).await;
        assert_eq!(status, 413);
        assert!(text.contains("larger than 2796200 bytes"), "{text}");
    }
}

#[tokio::test]
async fn a_stream_answers_line_by_line() {
    let header = |revision: &str| {
        format!(
            r#"{{"cluster_id":"18446744073709551615","revision":"{revision}","raft_term":"2"}}"#
        )
    };
    let line = |revision: &str, key: &str| {
        let header = header(revision);
        format!(
            r#"{{"result":{{"header":{header},"events":[{{"type":"DELETE","kv":{{"key":"{key}"}}}}]}}}}"#
        )
    };
    let create = |revision: u8, key: &str| {
        format!(r#"{{"create_request":{{"key":"{key}","start_revision":{revision}}}}}"#)
    };

    let two = format!("{}\n {}", create(7, "YQ=="), create(8, "Yg=="));
    let (status, text) = post("/v3/watch", two).await;
    assert_eq!((status, text), (200, format!("{}\n{}\n", line("7", "YQ=="), line("8", "Yg=="))));

    let refused = format!(r#"{}{{"cancel_request":{{"watch_id":"3"}}}}"#, create(7, "YQ=="));
    let error = r#"{"error":{"grpc_code":11,"http_code":400,"message":"etcdserver: no such watch","http_status":"Bad Request"}}"#;
    let (status, text) = post("/v3/watch", refused).await;
    assert_eq!((status, text), (200, format!("{}\n{error}\n", line("7", "YQ=="))));

    let (status, text) = post("/v3/watch", r#"{"cancel_request":{}}"#).await;
    assert_eq!(status, 400, "an error before any answer is an HTTP error: {text}");
    let (status, text) = post("/v3/watch", r#"{"create_request":"#).await;
    assert_eq!(status, 400, "{text}");
    assert_eq!(post("/v3/watch", "").await, (200, String::new()));
}

/// A watch is answered while its request is still being sent, a message at a time and cut anywhere.
#[tokio::test]
async fn a_stream_is_not_held_back() {
    let (bytes, body) = tokio::sync::mpsc::channel::<&'static str>(1);
    let body = tokio_stream::wrappers::ReceiverStream::new(body).map(Ok::<_, std::io::Error>);
    let request = Request::post("/v3/watch").body(Body::from_stream(body)).unwrap();
    let answering = tokio::spawn(gateway().oneshot(request));
    for piece in [r#"{"create_req"#, r#"uest":{"key":"YQ==""#, "}} "] {
        bytes.send(piece).await.unwrap();
    }
    let response = tokio::time::timeout(DEADLINE, answering).await.unwrap().unwrap().unwrap();
    let mut lines = response.into_body().into_data_stream();
    let mut next = async || tokio::time::timeout(DEADLINE, lines.next()).await.unwrap();
    assert!(next().await.unwrap().unwrap().ends_with(b"{\"key\":\"YQ==\"}}]}}\n"));
    bytes.send(r#"{"create_request":{"key":"Yg=="}}"#).await.unwrap();
    assert!(next().await.unwrap().unwrap().ends_with(b"{\"key\":\"Yg==\"}}]}}\n"));
    drop(bytes);
    assert!(next().await.is_none());
}

#[test]
fn every_route_has_its_method_and_every_method_a_route() {
    let pool = DescriptorPool::decode(watchkeep_api::DESCRIPTORS).unwrap();
    for &(path, service, method) in ROUTES {
        assert!(Codec::new(&pool, service, method).is_some(), "{path}: {service}.{method}");
    }
    for service in pool.services().filter(|service| service.package_name() == "etcdserverpb") {
        for method in service.methods() {
            let routed = ROUTES.iter().any(|(_, s, m)| *s == service.name() && *m == method.name());
            assert!(routed, "{}", method.full_name());
        }
    }
}
