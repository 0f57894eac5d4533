//! The test files' format, read into commands.

use std::collections::VecDeque;

use crate::Failure;

/// A command, and the line it begins at.
pub(crate) struct Command {
    pub(crate) line: usize,
    pub(crate) what: What,
}

pub(crate) enum What {
    Clear,
    Load { step_ms: i64, classic_too: bool, series: Vec<String> },
    Eval(Box<Eval>),
}

/// When an expression is evaluated.
#[derive(Clone, Copy)]
pub(crate) enum When {
    At(i64),
    Range { from_ms: i64, to_ms: i64, step_ms: i64 },
}

#[derive(Clone)]
pub(crate) enum Match {
    Text(String),
    Regex(String),
}

/// A case.
pub(crate) struct Eval {
    pub(crate) when: When,
    pub(crate) expr: String,
    pub(crate) fail: Option<Option<Match>>,
    pub(crate) ordered: bool,
    pub(crate) warn: Vec<Option<Match>>,
    pub(crate) info: Vec<Option<Match>>,
    pub(crate) no_warn: bool,
    pub(crate) no_info: bool,
    pub(crate) text: Option<String>,
    /// Points of the expected series are these, for an expression that is a range vector.
    pub(crate) points: Option<When>,
    pub(crate) expected: Vec<String>,
}

pub(crate) fn parse(text: &str) -> Result<Vec<Command>, Failure> {
    let mut lines: VecDeque<(usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line))
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .collect();
    let mut commands = Vec::new();
    while let Some((line, head)) = lines.pop_front() {
        let mut body = Vec::new();
        while let Some((_, next)) = lines.front().filter(|(_, l)| !is_command(l)) {
            body.push(next.trim().to_owned());
            lines.pop_front();
        }
        let what = command(head.trim(), body).map_err(|e| format!("line {line}: {e}"))?;
        commands.push(Command { line, what });
    }
    Ok(commands)
}

fn is_command(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    let word =
        matches!(first, "clear" | "load" | "load_with_nhcb" | "eval") || first.starts_with("eval_");
    word && !line.starts_with([' ', '\t'])
}

fn command(head: &str, body: Vec<String>) -> Result<What, Failure> {
    let (word, rest) = head.split_once(char::is_whitespace).unwrap_or((head, ""));
    match word {
        "clear" => Ok(What::Clear),
        "load" | "load_with_nhcb" => Ok(What::Load {
            step_ms: duration_ms(rest.trim())?,
            classic_too: word == "load_with_nhcb",
            series: body,
        }),
        _ => Ok(What::Eval(Box::new(eval(word, rest.trim(), body)?))),
    }
}

fn eval(word: &str, rest: &str, body: Vec<String>) -> Result<Eval, Failure> {
    let (when, expr) = when(rest)?;
    let mut eval = Eval {
        when,
        expr: expr.to_owned(),
        fail: (word == "eval_fail").then_some(None),
        ordered: word == "eval_ordered",
        warn: if word == "eval_warn" { vec![None] } else { Vec::new() },
        info: if word == "eval_info" { vec![None] } else { Vec::new() },
        no_warn: false,
        no_info: false,
        text: None,
        points: None,
        expected: Vec::new(),
    };
    for line in body {
        if let Some(message) = line.strip_prefix("expected_fail_message ") {
            eval.fail = Some(Some(Match::Text(message.trim().to_owned())));
        } else if let Some(regex) = line.strip_prefix("expected_fail_regexp ") {
            eval.fail = Some(Some(Match::Regex(regex.trim().to_owned())));
        } else if let Some(rest) = line.strip_prefix("expect ") {
            expect(&mut eval, rest.trim())?;
        } else {
            eval.expected.push(line);
        }
    }
    Ok(eval)
}

fn when(text: &str) -> Result<(When, &str), Failure> {
    let (kind, rest) = text.split_once(char::is_whitespace).ok_or("neither instant nor range")?;
    let mut rest = rest.trim_start();
    let mut time = |word: &str| -> Result<i64, Failure> {
        let after = rest.strip_prefix(word).ok_or_else(|| format!("{word:?} expected: {rest}"))?;
        let after = after.trim_start();
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        rest = after[end..].trim_start();
        duration_ms(&after[..end])
    };
    if kind == "instant" {
        let at = time("at")?;
        return Ok((When::At(at), rest));
    }
    let (from_ms, to_ms, step_ms) = (time("from")?, time("to")?, time("step")?);
    Ok((When::Range { from_ms, to_ms, step_ms }, rest))
}

fn expect(eval: &mut Eval, text: &str) -> Result<(), Failure> {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let matching = || {
        let text = rest.strip_prefix("msg:").map(|m| Match::Text(m.trim().to_owned()));
        text.or_else(|| rest.strip_prefix("regex:").map(|m| Match::Regex(m.trim().to_owned())))
    };
    match word {
        "fail" => eval.fail = Some(matching()),
        "ordered" => eval.ordered = true,
        "warn" => eval.warn.push(matching()),
        "info" => eval.info.push(matching()),
        "no_warn" => eval.no_warn = true,
        "no_info" => eval.no_info = true,
        "string" => eval.text = Some(unquoted(rest)),
        "range" => {
            let rest = rest.strip_prefix("vector").ok_or("expect range: vector expected")?;
            eval.points = Some(when(&format!("range {}", rest.trim()))?.0);
        }
        other => return Err(format!("expect {other} is not known").into()),
    }
    Ok(())
}

fn unquoted(text: &str) -> String {
    let inner = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    inner.to_owned()
}

/// A duration or a number of seconds, with a sign.
pub(crate) fn duration_ms(text: &str) -> Result<i64, Failure> {
    let wrong = || format!("{text:?} is not a duration");
    let (sign, unsigned) = match text.strip_prefix(['-', '+']) {
        Some(rest) if text.starts_with('-') => (-1, rest),
        Some(rest) => (1, rest),
        None => (1, text),
    };
    if let Ok(seconds) = unsigned.parse::<f64>() {
        return Ok(sign * (seconds * 1000.0).round() as i64);
    }
    let mut total = 0;
    let mut rest = unsigned;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return Err(wrong().into()),
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    Ok(sign * total)
}
