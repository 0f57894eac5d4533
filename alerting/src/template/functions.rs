//! The functions and methods that a template may call, by name; callers add their own. Whether they fail is theirs;
//! a panic in one is caught and becomes an error.

use std::{collections::BTreeMap, fmt, sync::Arc};

use gotmpl::{Value, ValueFunc};

use super::{
    member::{go_text, member, print, show},
    number, rewrite,
};

/// Go's own, always there.
const BUILTINS: [&str; 19] = [
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "call",
    "print", "printf", "println", "html", "js", "urlquery",
];

/// A method: the value it is asked of, its name and arguments. None: this value has no such method.
type Method = Arc<dyn Fn(&Value, &str, &[Value]) -> Option<gotmpl::Result<Value>> + Send + Sync>;

/// Functions by name, and methods. Cheap to clone.
#[derive(Clone, Default)]
pub struct Functions {
    map: BTreeMap<String, ValueFunc>,
    methods: Vec<Method>,
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.map.keys()).finish()
    }
}

impl Functions {
    /// With one more, or another in the place of one.
    #[must_use]
    pub fn with(
        mut self,
        name: &str,
        function: impl Fn(Arguments<'_>) -> gotmpl::Result<Value> + Send + Sync + 'static,
    ) -> Self {
        let called: Arc<str> = name.into();
        let function: ValueFunc = Arc::new(move |args| function(Arguments { name: &called, args }));
        self.map.insert(name.to_owned(), function);
        self
    }

    /// With methods; the last that were added are asked first.
    #[must_use]
    pub fn with_methods(
        mut self,
        methods: impl Fn(&Value, &str, &[Value]) -> Option<gotmpl::Result<Value>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.methods.push(Arc::new(methods));
        self
    }

    /// Whether a template may call it.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name) || BUILTINS.contains(&name)
    }

    pub(super) fn map(&self) -> BTreeMap<String, ValueFunc> {
        self.map.clone()
    }

    pub(super) fn method(
        &self,
        value: &Value,
        name: &str,
        args: &[Value],
    ) -> Option<gotmpl::Result<Value>> {
        self.methods.iter().rev().find_map(|method| method(value, name, args))
    }

    /// What a rewritten tree calls.
    pub(super) fn members(&self) -> impl Iterator<Item = (String, ValueFunc)> {
        let (own, other) = (self.clone(), self.clone());
        let fields: ValueFunc = Arc::new(move |args| {
            let [base, names @ ..] = args else { return Ok(Value::Nil) };
            names.iter().try_fold(base.clone(), |value, name| {
                member(&own, &value, name.as_str().unwrap_or_default(), &[])
            })
        });
        let call: ValueFunc = Arc::new(move |args| match args {
            [base, name, args @ ..] => {
                member(&other, base, name.as_str().unwrap_or_default(), args)
            }
            _ => Ok(Value::Nil),
        });
        let show: ValueFunc = Arc::new(|args| Ok(args.first().map_or(Value::Nil, show)));
        let plain: ValueFunc = Arc::new(|args| match args.first() {
            Some(text @ Value::String(_)) => Ok(text.clone()),
            value => Ok(Value::String(value.map(go_text).unwrap_or_default().into())),
        });
        let print: ValueFunc = Arc::new(|args| Ok(Value::String(print(args).into())));
        let println: ValueFunc = Arc::new(|args| {
            let words: Vec<_> = args.iter().map(go_text).collect();
            Ok(Value::String(format!("{}\n", words.join(" ")).into()))
        });
        let named = [
            (rewrite::MEMBER, fields),
            (rewrite::CALL, call),
            (rewrite::SHOW, show),
            (rewrite::PLAIN, plain),
            ("print", print),
            ("println", println),
        ];
        named.into_iter().map(|(name, function)| (name.to_owned(), function))
    }
}

/// An error of a function.
#[must_use]
pub fn failed(message: impl Into<String>) -> gotmpl::TemplateError {
    gotmpl::TemplateError::Exec(message.into())
}

/// What a function was called with.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    name: &'a str,
    /// As given.
    pub args: &'a [Value],
}

impl<'a> Arguments<'a> {
    /// Exactly `N` of them.
    ///
    /// # Errors
    /// When it is another number.
    pub fn exactly<const N: usize>(self) -> gotmpl::Result<&'a [Value; N]> {
        self.args.try_into().map_err(|_| {
            failed(format!("{}: {} arguments given, {N} expected", self.name, self.args.len()))
        })
    }

    /// Exactly `N` strings.
    ///
    /// # Errors
    /// When it is another number, or one is no string.
    pub fn strings<const N: usize>(self) -> gotmpl::Result<[&'a str; N]> {
        let mut strings = [""; N];
        for (value, string) in self.exactly::<N>()?.iter().zip(&mut strings) {
            *string = self.string(value)?;
        }
        Ok(strings)
    }

    /// A value that must be a string.
    ///
    /// # Errors
    /// When it is none.
    pub fn string(self, value: &'a Value) -> gotmpl::Result<&'a str> {
        value.as_str().ok_or_else(|| {
            failed(format!("{}: a string is expected, not {}", self.name, value.type_name()))
        })
    }

    /// The only one, as a number.
    ///
    /// # Errors
    /// When there are several, or it is no number.
    pub fn number(self) -> gotmpl::Result<f64> {
        let [value] = self.exactly()?;
        number::float(value).map_err(|message| failed(format!("{}: {message}", self.name)))
    }
}
