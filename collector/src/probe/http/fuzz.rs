//! An answer made of any bytes, read and judged as the probe does it: for the fuzzer and the property tests.

use ::http::{Request, header::HOST};
use bytes::Bytes;
use http_body_util::Full;
use tokio::io::AsyncWriteExt;
use watchkeep_catalog::{Compression, HeaderMatch, HttpCheck};

use super::{connection::Connection, expect::Expect, values};
use crate::probe::{FACTS_MAX, Stopwatch};

/// Most of a body that is read here.
const BODY_BYTES_MAX: u64 = 4_096;
/// Room for what we send: a preface, a request, and answers to any number of pings.
const SENT_BYTES_MAX: usize = 1 << 20;

/// What a server sends before it closes, as version 1.1 and as version 2. The first byte chooses what is expected.
pub(crate) fn answer(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let compression = [None, Some(Compression::Gzip), Some(Compression::Deflate)];
    let check = HttpCheck {
        compression: compression[usize::from(*choice) % compression.len()],
        body_bytes_max: Some(BODY_BYTES_MAX),
        body_must_match: vec!["o+k".to_owned()],
        headers_must_match: vec![HeaderMatch {
            header: "x-a".to_owned(),
            regexp: "b".to_owned(),
            allow_missing: choice & 128 == 0,
        }],
        ..HttpCheck::default()
    };
    let expect = Expect::new(&check).expect("good patterns");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for is_two in [false, true] {
        let mut watch = Stopwatch::start(true);
        // An error is as good an end as any.
        let _ = runtime.block_on(read(&expect, data, is_two, &mut watch));
        assert!(watch.take_facts().len() <= FACTS_MAX);
    }
}

async fn read(
    expect: &Expect,
    data: &[u8],
    is_two: bool,
    watch: &mut Stopwatch,
) -> Result<(), String> {
    let (ours, mut theirs) = tokio::io::duplex(data.len().max(SENT_BYTES_MAX));
    theirs.write_all(data).await.map_err(|e| e.to_string())?;
    theirs.shutdown().await.map_err(|e| e.to_string())?;
    let mut connection = Connection::begin(Box::new(ours), is_two).await?;
    let mut request = Request::new(Full::new(Bytes::new()));
    request.headers_mut().insert(HOST, "web.test".parse().expect("a value"));
    let (head, body) = connection.send(request).await?.into_parts();
    values::of_head(&head, false, watch);
    let good = expect.judge_head(head.status, head.version, &head.headers, false);
    let (body, whole) = connection.read(body, expect.bytes_max).await?;
    assert!(body.len() as u64 <= BODY_BYTES_MAX);
    let (body, whole) = expect.decompress(body, whole)?;
    assert!(body.len() as u64 <= BODY_BYTES_MAX);
    values::of_body(&body, watch);
    good.and_then(|()| expect.judge_body(head.status, &body, whole)).map_err(|bad| bad.reason)
}
