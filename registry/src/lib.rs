//! The replicated store: etcd v3 API, MVCC, watch, lease, Raft, storage.

mod raft;
