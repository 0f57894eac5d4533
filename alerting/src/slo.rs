//! SLO.
