//! Assertions: expressions in CEL over what a probe saw. Compiled once; all must be true.
//!
//! What is wrong with an expression is told when the check is made, as far as can be: its syntax, variables and
//! functions that do not exist, too many loops within each other. What only an answer can tell (`json.n` of
//! an answer without `n`) makes the probe fail, in words.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use cel::{
    Context, Env, Program,
    common::ast::{EntryExpr, Expr, IdedExpr},
    objects::{Key, Value},
};
use serde_json::Value as Json;

/// Most assertions of a check.
pub(crate) const ASSERTIONS_MAX: usize = 32;
/// Longest expression.
const BYTES_MAX: usize = 2_048;
/// Loops (`all`, `exists`, `map`, `filter`, …) within each other: more take too long on a long answer.
const LOOPS_MAX: usize = 2;

/// Variables of every kind.
const COMMON: [&str; 3] = ["duration_ms", "timings", "now"];
/// Functions of the standard library and of the strings' extension.
const FUNCTIONS: &[&str] = &[
    "bool",
    "bytes",
    "charAt",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "format",
    "indexOf",
    "int",
    "join",
    "lastIndexOf",
    "lowerAscii",
    "matches",
    "quote",
    "replace",
    "reverse",
    "size",
    "split",
    "startsWith",
    "string",
    "substring",
    "trim",
    "type",
    "uint",
    "upperAscii",
];

/// The language, made when the first check asks for it: all share it, since it takes more room than many checks.
#[derive(Default)]
pub(crate) struct Language(OnceLock<Arc<Env>>);

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CEL")
    }
}

impl Language {
    fn env(&self) -> Arc<Env> {
        let make = || {
            let mut env = Env::stdlib();
            // Fails only where a function is there already.
            let _ = env.add_extension(cel::extensions::strings);
            Arc::new(env)
        };
        self.0.get_or_init(make).clone()
    }
}

/// The assertions of a check made ready.
pub(crate) struct Assertions {
    /// None: there are none.
    env: Option<Arc<Env>>,
    programs: Vec<(String, Program)>,
    variables: &'static [&'static str],
}

impl fmt::Debug for Assertions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.programs.iter().map(|(text, _)| text)).finish()
    }
}

/// Variables that a kind of check exposes.
fn variables(kind: &str) -> &'static [&'static str] {
    match kind {
        "http" => &["status", "version", "headers", "body", "json", "certificate"],
        "websocket" => &["status", "headers", "message", "certificate"],
        "tls" => &["certificate"],
        "grpc" => &["grpc_status"],
        "dns" => &["rcode", "answers"],
        "script" => &["exit_code", "output"],
        "ttl" => &["output"],
        _ => &[],
    }
}

impl Assertions {
    /// # Errors
    /// In words, when an expression can never be evaluated.
    pub(crate) fn new(kind: &str, texts: &[String], language: &Language) -> Result<Self, String> {
        let variables = variables(kind);
        if texts.is_empty() {
            return Ok(Self { env: None, programs: Vec::new(), variables });
        }
        if texts.len() > ASSERTIONS_MAX {
            let count = texts.len();
            return Err(format!("assertions: there are {count}: give at most {ASSERTIONS_MAX}"));
        }
        let env = language.env();
        let mut programs = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let wrong = |what: String| format!("assertions[{at}] {text:?}: {what}");
            if text.len() > BYTES_MAX {
                return Err(format!("assertions[{at}]: it has more than {BYTES_MAX} bytes"));
            }
            let program = env.compile(text).map_err(|errors| {
                let first = errors.errors.first();
                wrong(first.map_or_else(
                    || "it cannot be read".to_owned(),
                    |error| format!("column {}: {}", error.pos.1, error.msg),
                ))
            })?;
            let mut names = Names { kind: variables, bound: Vec::new(), loops: 0 };
            names.judge(program.expression()).map_err(wrong)?;
            programs.push((text.clone(), program));
        }
        Ok(Self { env: Some(env), programs, variables })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Judges what a probe exposed.
    ///
    /// # Errors
    /// The first assertion that is not true.
    pub(crate) fn judge(&self, exposed: BTreeMap<&'static str, Json>) -> Result<(), String> {
        let Some(env) = &self.env else { return Ok(()) };
        let mut context = Context::with_env(env.clone());
        for name in self.variables {
            context.add_variable_from_value(*name, Value::Null);
        }
        for (name, value) in exposed {
            context.add_variable_from_value(name, convert(value));
        }
        for (text, program) in &self.programs {
            match program.execute(&context) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Err(format!("assertion failed: {text}")),
                Ok(other) => {
                    let kind = other.type_of();
                    return Err(format!("assertion {text}: it is no truth value, but {kind}"));
                }
                Err(error) => return Err(format!("assertion {text}: {error}")),
            }
        }
        Ok(())
    }
}

/// JSON as CEL sees it: whole numbers are `int`, so that they can be added and compared.
fn convert(value: Json) -> Value {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text)),
        Json::Array(list) => Value::List(Arc::new(list.into_iter().map(convert).collect())),
        Json::Object(object) => {
            let pairs = object.into_iter().map(|(k, v)| (Key::String(Arc::new(k)), convert(v)));
            Value::Map(pairs.collect::<std::collections::HashMap<_, _>>().into())
        }
    }
}

/// Judges the names that an expression uses.
struct Names {
    kind: &'static [&'static str],
    /// Names that loops bind, innermost last.
    bound: Vec<String>,
    loops: usize,
}

impl Names {
    fn judge(&mut self, expression: &IdedExpr) -> Result<(), String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => self.judge(&select.operand),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.judge(element)),
            Expr::Call(call) => {
                function(&call.func_name)?;
                if let Some(target) = &call.target {
                    self.judge(target)?;
                }
                call.args.iter().try_for_each(|argument| self.judge(argument))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|e| self.entry(&e.expr)),
            Expr::Struct(fields) => fields.entries.iter().try_for_each(|e| self.entry(&e.expr)),
            Expr::Comprehension(each) => {
                self.judge(&each.iter_range)?;
                if self.loops == LOOPS_MAX {
                    return Err(format!("it has more than {LOOPS_MAX} loops within each other"));
                }
                let outer = self.bound.len();
                self.bound.push(each.iter_var.clone());
                self.bound.extend(each.iter_var2.clone());
                self.bound.push(each.accu_var.clone());
                self.loops += 1;
                for part in [&each.accu_init, &each.loop_cond, &each.loop_step, &each.result] {
                    self.judge(part)?;
                }
                self.loops -= 1;
                self.bound.truncate(outer);
                Ok(())
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) -> Result<(), String> {
        match entry {
            EntryExpr::StructField(field) => self.judge(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.judge(&entry.key)?;
                self.judge(&entry.value)
            }
        }
    }

    fn variable(&self, name: &str) -> Result<(), String> {
        /// Names of types, for `type(x) == int`.
        const TYPES: [&str; 9] =
            ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];
        let is_known = self.bound.iter().any(|bound| bound == name)
            || self.kind.contains(&name)
            || COMMON.contains(&name)
            || TYPES.contains(&name);
        if is_known {
            return Ok(());
        }
        let all = self.kind.iter().chain(&COMMON).copied().collect::<Vec<_>>().join(", ");
        Err(format!("there is no variable {name}; there are {all}"))
    }
}

fn function(name: &str) -> Result<(), String> {
    // Operators are named with signs.
    let is_operator = !name.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if is_operator || FUNCTIONS.contains(&name) {
        return Ok(());
    }
    Err(format!("there is no function {name}; there are {}", FUNCTIONS.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(text: &str) -> String {
        let texts = [text.to_owned()];
        let assertions = match Assertions::new("http", &texts, &Language::default()) {
            Ok(assertions) => assertions,
            Err(words) => return words,
        };
        let exposed = [
            ("status", json!(200)),
            ("headers", json!({"content-type": "application/json"})),
            ("json", json!({"ok": true, "n": 2, "f": 1.5, "items": [{"n": 2}, {"n": 3}]})),
            ("body", json!("{}")),
            ("timings", json!({"connect_ms": 1.25})),
        ];
        match assertions.judge(exposed.into_iter().collect()) {
            Ok(()) => "true".to_owned(),
            Err(words) => words,
        }
    }

    #[test]
    fn what_expressions_come_to() {
        for (text, words) in [
            ("status == 200 && json.ok", "true"),
            ("status >= 200 && status < 300", "true"),
            ("json.n + 1 == 3", "true"),
            ("json.f > 1.0 && timings.connect_ms < 100.0", "true"),
            ("json.items.all(i, i.n > 1)", "true"),
            ("json.items.map(i, i.n).exists(n, n == 3)", "true"),
            ("headers['content-type'].startsWith('application/json')", "true"),
            ("body.matches('^[{]') && size(json.items) == 2", "true"),
            ("certificate == null", "true"),
            ("!has(json.missing)", "true"),
            ("type(json.n) == int", "true"),
            ("status == 204", "assertion failed: status == 204"),
            ("json.missing == 1", "assertion json.missing == 1: No such key: missing"),
            ("json.n", "assertion json.n: it is no truth value, but int"),
        ] {
            assert_eq!(judge(text), words, "{text}");
        }
    }

    #[test]
    fn what_can_never_be_evaluated() {
        for (text, words) in [
            ("", "assertions[0] \"\": column "),
            ("(", "assertions[0] \"(\": column 2: Syntax error"),
            ("sttus == 1", "there is no variable sttus; there are status, version, headers"),
            ("sizeof(body) > 1", "there is no function sizeof; there are bool, bytes"),
            (
                "json.a.all(a, a.all(b, b.all(c, c == 1)))",
                "it has more than 2 loops within each other",
            ),
        ] {
            let said = judge(text);
            assert!(said.contains(words), "{text}: {said}");
        }
        let long = judge(&format!("body == '{}'", "x".repeat(3_000)));
        assert_eq!(long, "assertions[0]: it has more than 2048 bytes");
    }
}
