//! How many cases of each file pass: they may not become fewer.

/// File, passed, total.
pub(crate) const COUNTS: &[(&str, usize, usize)] = &[
    ("aggregators.test", 84, 84),
    ("at_modifier.test", 26, 26),
    ("collision.test", 1, 1),
    ("duration_expression.test", 44, 44),
    ("extended_vectors.test", 83, 83),
    ("fill-modifier.test", 33, 33),
    ("functions.test", 300, 300),
    ("histograms.test", 185, 185),
    ("info.test", 38, 38),
    ("literals.test", 25, 25),
    ("name_label_dropping.test", 23, 23),
    ("native_histograms.test", 291, 291),
    ("operators.test", 203, 203),
    ("range_queries.test", 7, 7),
    ("staleness.test", 17, 17),
    ("start_timestamps.test", 25, 25),
    ("subquery.test", 9, 9),
    ("trig_functions.test", 19, 19),
    ("type_and_unit.test", 58, 58),
];
