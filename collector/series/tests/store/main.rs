//! The store through its API: every kind of sample, limits, late samples, upkeep beside readers and writers, and a model that it must agree with.

mod kinds;
mod late;
mod limits;
mod model;
mod upkeep;
