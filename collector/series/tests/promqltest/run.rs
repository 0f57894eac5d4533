//! Runs the commands of one file.

use watchkeep_series::promql::{
    Answer, Engine, EngineOptions, EvalError, Expr, MemorySeries, ParseError,
};

use crate::{
    Failure, compare,
    load::load,
    script::{Command, Eval, Match, What, When},
};

/// Why a case is not as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The parser does not take the expression.
    ParserRejects,
    /// We say that we do not do this.
    Unsupported,
    /// The answer is another.
    Wrong,
}

/// What became of a case.
pub(crate) struct Outcome {
    pub(crate) line: usize,
    pub(crate) expr: String,
    /// Whether native histograms are in it.
    pub(crate) native: bool,
    pub(crate) failed: Option<(Cause, String)>,
}

pub(crate) fn file(commands: &[Command]) -> Vec<Outcome> {
    let engine = Engine::new(EngineOptions { experimental: true, ..EngineOptions::default() });
    let mut memory = MemorySeries::new();
    let mut native = false;
    let mut broken = None;
    let mut outcomes = Vec::new();
    for command in commands {
        match &command.what {
            What::Clear => {
                memory.clear();
                native = false;
                broken = None;
            }
            What::Load { step_ms, classic_too, series } => {
                native |= *classic_too || series.iter().any(|s| s.contains("{{"));
                if let Err(error) = load(&mut memory, *step_ms, *classic_too, series) {
                    broken = Some(format!("load: {error}"));
                }
            }
            What::Eval(eval) => {
                let expected = eval.expected.iter().any(|s| s.contains("{{"));
                let failed = match &broken {
                    Some(load) => Some((Cause::Wrong, load.clone())),
                    None => case(&engine, &memory, eval).err(),
                };
                outcomes.push(Outcome {
                    line: command.line,
                    expr: eval.expr.clone(),
                    native: native || expected,
                    failed,
                });
            }
        }
    }
    outcomes
}

fn case(engine: &Engine, memory: &MemorySeries, eval: &Eval) -> Result<(), (Cause, String)> {
    let expr = match Expr::parse(&eval.expr) {
        Ok(expr) => expr,
        Err(ParseError { message, .. }) => {
            return match &eval.fail {
                Some(pattern) => {
                    matched(pattern.as_ref(), &message).map_err(|_| (Cause::ParserRejects, message))
                }
                None => Err((Cause::ParserRejects, message)),
            };
        }
    };
    let go = || false;
    let answer = match eval.when {
        When::At(at_ms) => engine.instant(memory, &expr, at_ms, &go),
        When::Range { from_ms, to_ms, step_ms } => {
            engine.range(memory, &expr, from_ms, to_ms, step_ms, &go)
        }
    };
    let wrong = |e: Failure| (Cause::Wrong, e.to_string());
    match (&eval.fail, answer) {
        (Some(pattern), Err(error)) => matched(pattern.as_ref(), &error.to_string()).map_err(wrong),
        (Some(_), Ok(_)) => Err((Cause::Wrong, "no error".to_owned())),
        (None, Err(EvalError::Experimental(name))) => Err((Cause::Unsupported, name)),
        (None, Err(error)) => Err((Cause::Wrong, format!("error: {error}"))),
        (None, Ok(answer)) => {
            compare::answer(eval, &answer).map_err(wrong)?;
            notes(eval, &answer).map_err(wrong)?;
            in_range(engine, memory, eval, &expr).map_err(wrong)
        }
    }
}

/// What holds at one time holds at the same time within a range.
fn in_range(
    engine: &Engine,
    memory: &MemorySeries,
    eval: &Eval,
    expr: &Expr,
) -> Result<(), Failure> {
    let When::At(at_ms) = eval.when else { return Ok(()) };
    let depends = ["start()", "end()", "range()", "step()"].iter().any(|f| eval.expr.contains(f));
    let vector = matches!(expr.kind(), watchkeep_series::promql::ExprKind::Vector);
    if depends || eval.ordered || !vector {
        return Ok(());
    }
    const MINUTE: i64 = 60_000;
    let answer = engine
        .range(memory, expr, at_ms - MINUTE, at_ms + MINUTE, MINUTE, &|| false)
        // Another time may have another error.
        .ok();
    answer
        .map_or(Ok(()), |answer| compare::answer(eval, &answer))
        .map_err(|e| format!("as a range: {e}").into())
}

fn matched(pattern: Option<&Match>, message: &str) -> Result<(), Failure> {
    let fits = match pattern {
        None => true,
        Some(Match::Text(text)) => message == text,
        Some(Match::Regex(regex)) => regex::Regex::new(regex)?.is_match(message),
    };
    if fits { Ok(()) } else { Err(format!("message {message:?}").into()) }
}

fn notes(eval: &Eval, answer: &Answer) -> Result<(), Failure> {
    for (kind, expected, none, found) in [
        ("warning", &eval.warn, eval.no_warn, &answer.warnings),
        ("info", &eval.info, eval.no_info, &answer.infos),
    ] {
        if none && !found.is_empty() {
            return Err(format!("{kind} not expected: {found:?}").into());
        }
        for pattern in expected {
            if !found.iter().any(|f| matched(pattern.as_ref(), f).is_ok()) {
                return Err(format!("{kind} missing; found {found:?}").into());
            }
        }
    }
    Ok(())
}
