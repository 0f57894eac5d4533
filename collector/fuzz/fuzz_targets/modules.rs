//! Fuzzes files of blackbox_exporter's modules; the first line is the target.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &str| {
    let (target, file) = data.split_once('\n').unwrap_or(("web.test:80", data));
    if let Ok(modules) = serde_saphyr::from_str(file) {
        watchkeep_collector::fuzzing::modules(&modules, target);
    }
});
