//! The store through its API: every kind of sample, limits, late samples, and a model that it must agree with.

mod kinds;
mod late;
mod limits;
mod model;
