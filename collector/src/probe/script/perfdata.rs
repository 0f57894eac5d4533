//! What a Nagios plugin prints: words, and behind a `|` what it measured. Pure.
//!
//! ```text
//! DISK OK - 80% free|/=512MB;900;950;0;1000 'time left'=12ms     first line: words | perfdata
//! more words                                                    further lines: words, until a | comes
//! /home is fine | /home=1MB                                     from there on: perfdata
//! ```

/// Most measurements of one run.
const MEASURED_MAX: usize = 32;
/// Longest label in bytes.
const LABEL_BYTES_MAX: usize = 64;

/// One thing measured, in base units.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    pub(super) label: String,
    /// `seconds`, `bytes`, `ratio`, `total` (of a counter) or nothing.
    pub(super) unit: &'static str,
    pub(super) value: f64,
}

/// The first line's words, and all that was measured; what cannot be read is left out.
pub(super) fn read(output: &str) -> (String, Vec<Measured>) {
    let mut lines = output.lines();
    let (words, first) = split(lines.next().unwrap_or_default());
    let mut measured = Vec::new();
    gather(first, &mut measured);
    let mut behind = false;
    for line in lines {
        if behind {
            gather(line, &mut measured);
        } else if let Some((_, data)) = line.split_once('|') {
            behind = true;
            gather(data, &mut measured);
        }
    }
    (words.trim().to_owned(), measured)
}

fn split(line: &str) -> (&str, &str) {
    line.split_once('|').unwrap_or((line, ""))
}

/// `label=value[unit][;warn[;crit[;min[;max]]]]`, separated by spaces; a label with spaces is in single quotes,
/// and a quote in it is doubled.
fn gather(mut text: &str, measured: &mut Vec<Measured>) {
    while measured.len() < MEASURED_MAX {
        text = text.trim_start();
        let Some((label, rest)) = label(text) else { return };
        let (field, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        text = after;
        let value = field.split(';').next().unwrap_or_default();
        let fits = !label.is_empty() && label.len() <= LABEL_BYTES_MAX;
        if let Some((value, unit)) = number(value).filter(|_| fits) {
            measured.push(Measured { label, unit, value });
        }
    }
}

/// A label and what stands behind its `=`.
fn label(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('\'') else {
        let (label, rest) = text.split_once('=')?;
        // Words without a value are no label's beginning.
        let label = label.rsplit(char::is_whitespace).next().unwrap_or(label);
        return Some((label.to_owned(), rest));
    };
    let mut label = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        if letter != '\'' {
            label.push(letter);
        } else if letters.next_if(|(_, next)| *next == '\'').is_some() {
            label.push('\'');
        } else {
            return Some((label, quoted[at + 1..].strip_prefix('=')?));
        }
    }
    None
}

/// A value in its base unit.
fn number(text: &str) -> Option<(f64, &'static str)> {
    let end = text.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let value: f64 =
        number.replace(',', ".").parse().ok().filter(|value: &f64| value.is_finite())?;
    let (factor, unit) = match unit {
        "" => (1.0, ""),
        "s" => (1.0, "seconds"),
        "ms" => (1e-3, "seconds"),
        "us" => (1e-6, "seconds"),
        "ns" => (1e-9, "seconds"),
        "B" => (1.0, "bytes"),
        "KB" => (1e3, "bytes"),
        "MB" => (1e6, "bytes"),
        "GB" => (1e9, "bytes"),
        "TB" => (1e12, "bytes"),
        "%" => (1e-2, "ratio"),
        "c" => (1.0, "total"),
        _ => return None,
    };
    Some((value * factor, unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(output: &str) -> (String, Vec<String>) {
        let (words, measured) = read(output);
        let show = |m: &Measured| format!("{} {} {}", m.label, m.value, m.unit);
        (words, measured.iter().map(show).collect())
    }

    #[test]
    fn table() {
        for (output, words, expected) in [
            ("", "", &[][..]),
            ("OK", "OK", &[]),
            ("OK - fine | time=0.5s;;;0", "OK - fine", &["time 0.5 seconds"]),
            (
                "OK|/=512MB;900;950;0;1000 'time left'=12ms 'it''s'=5%",
                "OK",
                &["/ 512000000 bytes", "time left 0.012 seconds", "it's 0.05 ratio"],
            ),
            ("OK|a=1\nmore\nwords | b=2c\nc=-3", "OK", &["a 1 ", "b 2 total", "c -3 "]),
            ("OK|a=U b=x c=1;2", "OK", &["c 1 "]),
            ("OK|a=1parsec 'open=1", "OK", &[]),
            ("OK|words a=1,5", "OK", &["a 1.5 "]),
        ] {
            let (said, measured) = shown(output);
            assert_eq!(
                (said.as_str(), measured),
                (words, expected.iter().map(|s| (*s).to_owned()).collect()),
                "{output}"
            );
        }
    }

    #[test]
    fn not_too_much() {
        let many: String = (0..100).map(|n| format!("v{n}=1 ")).collect();
        assert_eq!(read(&format!("OK|{many}")).1.len(), MEASURED_MAX);
        assert_eq!(read(&format!("OK|{}=1", "x".repeat(65))).1, []);
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(output in "[a-c'|=;% \n0-9.-]{0,80}") {
            let (_, measured) = read(&output);
            prop_assert!(measured.iter().all(|m| m.value.is_finite() && !m.label.is_empty()));
        }
    }
}
