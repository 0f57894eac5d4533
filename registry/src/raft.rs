//! The only place that names openraft.

pub(crate) mod types;
