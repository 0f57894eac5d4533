//! Makes a failing sequence as short as it gets.

use std::time::Duration;

use tokio::time::Instant;
use watchkeep_api::etcdserverpb::{RequestOp, TxnRequest, request_op::Request};

use crate::{
    op::Op,
    pair::{Difference, Pair},
};

/// What shrinking may cost.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Drops operations, and parts of transactions, as long as the two still differ.
pub(crate) async fn shrink(
    pair: &mut Pair,
    mut ops: Vec<Op>,
    mut difference: Difference,
) -> (Vec<Op>, Difference) {
    if let Some(at) = difference.at {
        ops.truncate(at + 1);
    }
    let begin = Instant::now();
    loop {
        let mut smaller = None;
        for candidate in candidates(&ops) {
            if begin.elapsed() > TIME_MAX || pair.ended().is_some() {
                return (ops, difference);
            }
            if let Some(still) = pair.run(&candidate).await {
                smaller = Some((candidate, still));
                break;
            }
        }
        match smaller {
            Some(found) => (ops, difference) = found,
            None => return (ops, difference),
        }
    }
}

/// The sequence without large pieces, without one operation, with a simpler transaction.
fn candidates(ops: &[Op]) -> Vec<Vec<Op>> {
    let mut candidates = Vec::new();
    let mut size = ops.len() / 2;
    while size > 0 {
        for start in (0..ops.len()).step_by(size) {
            let end = (start + size).min(ops.len());
            candidates.push([&ops[..start], &ops[end..]].concat());
        }
        size /= 2;
    }
    for (at, op) in ops.iter().enumerate() {
        if let Op::Txn(txn) = op {
            candidates.extend(simpler(txn).into_iter().map(|txn| {
                let mut ops = ops.to_vec();
                ops[at] = Op::Txn(txn);
                ops
            }));
        }
    }
    candidates
}

fn simpler(txn: &TxnRequest) -> Vec<TxnRequest> {
    let mut found = Vec::new();
    for at in 0..txn.compare.len() {
        let mut smaller = txn.clone();
        smaller.compare.remove(at);
        found.push(smaller);
    }
    found.extend(
        simpler_ops(&txn.success).into_iter().map(|success| TxnRequest { success, ..txn.clone() }),
    );
    found.extend(
        simpler_ops(&txn.failure).into_iter().map(|failure| TxnRequest { failure, ..txn.clone() }),
    );
    found
}

fn simpler_ops(ops: &[RequestOp]) -> Vec<Vec<RequestOp>> {
    let mut found = Vec::new();
    if ops.len() > 8 {
        found.push(ops[..ops.len() / 2].to_vec());
        found.push(ops[ops.len() / 2..].to_vec());
    }
    for (at, op) in ops.iter().enumerate() {
        found.push([&ops[..at], &ops[at + 1..]].concat());
        if let Some(Request::RequestTxn(txn)) = &op.request {
            found.extend(simpler(txn).into_iter().map(|txn| {
                let mut ops = ops.to_vec();
                ops[at].request = Some(Request::RequestTxn(txn));
                ops
            }));
        }
    }
    found
}
