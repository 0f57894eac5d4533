//! PromQL that many panels share the form of, and the matchers that every selector has.

/// Prefixes of metric names; no label and no function begins so.
const METRICS: [&str; 9] = [
    "watchkeep_",
    "etcd_",
    "grpc_server_",
    "probe_",
    "process_",
    "prometheus_",
    "alertmanager_",
    "os_fd_",
    "up",
];
const MATCHERS: &str = r#"job=~"$job",instance=~"$instance""#;

/// The expression with `job` and `instance` in every selector.
pub(super) fn scoped(expr: &str) -> String {
    let (mut out, mut rest, mut quoted) = (String::new(), expr, false);
    while let Some(c) = rest.chars().next() {
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let word = &rest[..length.unwrap_or(rest.len())];
        if quoted || word.is_empty() {
            quoted ^= c == '"';
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        out.push_str(word);
        rest = &rest[word.len()..];
        if is_metric(word) {
            out.push('{');
            out.push_str(MATCHERS);
            rest = match rest.strip_prefix('{') {
                Some(own) => {
                    out.push_str(if own.starts_with('}') { "" } else { "," });
                    own
                }
                None => {
                    out.push('}');
                    rest
                }
            };
        }
    }
    out
}

fn is_metric(word: &str) -> bool {
    METRICS.iter().any(|name| word == *name || name.ends_with('_') && word.starts_with(name))
}

/// `by` with its blank in front; nothing for no labels.
fn by(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!(" by ({labels})") }
}

/// Events per second, summed by these labels.
pub(super) fn rate(labels: &str, counter: &str) -> String {
    format!("sum{} (rate({counter}[$__rate_interval]))", by(labels))
}

/// Events in the time shown, summed by these labels.
pub(super) fn count(labels: &str, counter: &str) -> String {
    format!("sum{} (increase({counter}[$__range]))", by(labels))
}

/// The largest by these labels.
pub(super) fn max(labels: &str, gauge: &str) -> String {
    format!("max{} ({gauge})", by(labels))
}

/// A quantile of a histogram's last moments, by these labels. `selector` is the histogram's name, with matchers or
/// without.
pub(super) fn quantile(q: &str, labels: &str, selector: &str) -> String {
    let by = if labels.is_empty() { "le".to_owned() } else { format!("le, {labels}") };
    let buckets = suffixed(selector, "_bucket");
    format!("histogram_quantile({q}, sum by ({by}) (rate({buckets}[$__rate_interval])))")
}

/// A quantile over the whole time shown: for what happens seldom.
pub(super) fn quantile_of_range(q: &str, labels: &str, selector: &str) -> String {
    let by = if labels.is_empty() { "le".to_owned() } else { format!("le, {labels}") };
    let buckets = suffixed(selector, "_bucket");
    format!("histogram_quantile({q}, sum by ({by}) (increase({buckets}[$__range])))")
}

/// The mean of what a histogram counted in the last moments.
pub(super) fn mean(labels: &str, histogram: &str) -> String {
    let (sum, count) = (suffixed(histogram, "_sum"), suffixed(histogram, "_count"));
    format!("{} / {}", rate(labels, &sum), rate(labels, &count))
}

/// Whatever comes first, or 0 while the gauge exists: nothing happened is not nothing known.
pub(super) fn or_zero(expr: &str, gauge: &str) -> String {
    format!("{expr} or 0 * max({gauge})")
}

fn suffixed(selector: &str, suffix: &str) -> String {
    match selector.split_once('{') {
        Some((name, matchers)) => format!("{name}{suffix}{{{matchers}"),
        None => format!("{selector}{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_is_scoped_and_nothing_else() {
        let expr = r#"sum by (grpc_method) (rate(grpc_server_x{grpc_service="etcd_x",a!="up"}[5m])) / max(up) > up{}"#;
        let expected = r#"sum by (grpc_method) (rate(grpc_server_x{J,I,grpc_service="etcd_x",a!="up"}[5m])) / max(up{J,I}) > up{J,I}"#;
        let matchers = MATCHERS.split_once(',').unwrap();
        let expected = expected.replace('J', matchers.0).replace('I', matchers.1);
        assert_eq!(scoped(expr), expected);
    }

    #[test]
    fn quantiles_keep_their_matchers() {
        let expr = quantile("0.99", "check", r#"probe_duration_seconds{service="a"}"#);
        let expected = r#"histogram_quantile(0.99, sum by (le, check) (rate(probe_duration_seconds_bucket{service="a"}[$__rate_interval])))"#;
        assert_eq!(expr, expected);
    }
}
