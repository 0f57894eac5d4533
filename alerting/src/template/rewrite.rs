//! A parsed tree, judged and prepared: functions and variables must exist, every action says where it is before it
//! runs, and `.a.b` becomes a call, so that data can have methods. Only trees, no data.
//!
//! `{{.Alerts.Firing | len}}` becomes `{{at 0 3}}{{member . "Alerts" "Firing" | len | show}}`, with names for
//! `at`, `member` and `show` that no text can spell.

use gotmpl::{
    Value,
    parse::{
        ActionNode, BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, Pos, SmolStr,
    },
};

use super::Functions;

/// Notes where the rendering is.
pub(super) const AT: &str = "\u{0}at";
/// Fields, one after the other: `member value "a" "b"`.
pub(super) const MEMBER: &str = "\u{0}member";
/// A field or method with arguments: `call value "name" args…`.
pub(super) const CALL: &str = "\u{0}call";
/// What a value looks like when it is printed.
pub(super) const SHOW: &str = "\u{0}show";
/// The same, as a string: what `printf` writes for `%v`.
pub(super) const PLAIN: &str = "\u{0}plain";

/// The function that gives a bound variable its value.
pub(super) fn binding(name: &str) -> String {
    format!("\u{0}{name}")
}

/// The body with variables bound before its first node.
pub(super) fn bind(mut body: ListNode, variables: &[(&str, Value)]) -> ListNode {
    let pos = body.pos;
    let bound = variables.iter().map(|(name, _)| {
        let call = Expr::Identifier(pos, SmolStr::new(binding(name)));
        action(pos, vec![SmolStr::new(*name)], vec![call])
    });
    body.nodes.splice(0..0, bound);
    body
}

/// A line, and what is wrong there.
type Wrong = (usize, String);

/// Judges and prepares the tree of the text number `text`.
pub(super) fn rewrite(
    tree: ListNode,
    text: usize,
    functions: &Functions,
    variables: &[&str],
) -> Result<ListNode, Wrong> {
    let mut known = vec!["$".to_owned()];
    known.extend(variables.iter().map(|&name| name.to_owned()));
    Rewriter { text, functions, known }.list(tree)
}

struct Rewriter<'a> {
    text: usize,
    functions: &'a Functions,
    /// Variables in scope, innermost last.
    known: Vec<String>,
}

impl Rewriter<'_> {
    fn list(&mut self, list: ListNode) -> Result<ListNode, Wrong> {
        let mut nodes = Vec::with_capacity(list.nodes.len());
        for node in list.nodes {
            let pos = match &node {
                Node::Action(n) => Some(n.pos),
                Node::If(n) | Node::Range(n) | Node::With(n) => Some(n.pos),
                Node::Template(n) => Some(n.pos),
                _ => None,
            };
            nodes.extend(pos.map(|pos| self.at(pos)));
            nodes.push(self.node(node)?);
        }
        Ok(ListNode { pos: list.pos, nodes })
    }

    /// `{{$ := at text line}}`, which prints nothing.
    fn at(&self, pos: Pos) -> Node {
        let number = |n: usize| Expr::Number(pos, Number::Int(i64::try_from(n).unwrap_or(0)));
        let call = Expr::Identifier(pos, SmolStr::new(AT));
        action(pos, vec![SmolStr::new(AT)], vec![call, number(self.text), number(pos.line)])
    }

    fn node(&mut self, node: Node) -> Result<Node, Wrong> {
        Ok(match node {
            Node::List(list) => Node::List(self.list(list)?),
            Node::Action(mut action) => {
                action.pipe = self.pipe(action.pipe)?;
                if action.pipe.decl.is_empty() && !escapes(&action.pipe) {
                    let show = Expr::Identifier(action.pos, SmolStr::new(SHOW));
                    let command = CommandNode { pos: action.pos, args: vec![show] };
                    action.pipe.commands.push(command);
                }
                Node::Action(action)
            }
            Node::If(branch) => Node::If(self.branch(branch)?),
            Node::Range(branch) => Node::Range(self.branch(branch)?),
            Node::With(branch) => Node::With(self.branch(branch)?),
            Node::Template(mut template) => {
                template.pipe = template.pipe.map(|pipe| self.pipe(pipe)).transpose()?;
                Node::Template(template)
            }
            other => other,
        })
    }

    fn branch(&mut self, branch: BranchNode) -> Result<BranchNode, Wrong> {
        let outer = self.known.len();
        let pipe = self.pipe(branch.pipe)?;
        let inner = self.known.len();
        let body = self.list(branch.body)?;
        self.known.truncate(inner);
        let else_body = branch.else_body.map(|list| self.list(list)).transpose()?;
        self.known.truncate(outer);
        Ok(BranchNode { pos: branch.pos, pipe, body, else_body })
    }

    fn pipe(&mut self, pipe: PipeNode) -> Result<PipeNode, Wrong> {
        let mut commands = Vec::with_capacity(pipe.commands.len());
        for (at, command) in pipe.commands.into_iter().enumerate() {
            let mut command = self.command(command, at > 0)?;
            if plain_arguments(&mut command) && at > 0 {
                let plain = Expr::Identifier(pipe.pos, SmolStr::new(PLAIN));
                commands.push(CommandNode { pos: pipe.pos, args: vec![plain] });
            }
            commands.push(command);
        }
        for name in &pipe.decl {
            if pipe.is_assign {
                self.variable(pipe.pos, name)?;
            } else {
                self.known.push(name.to_string());
            }
        }
        Ok(PipeNode { commands, ..pipe })
    }

    fn command(&mut self, command: CommandNode, piped: bool) -> Result<CommandNode, Wrong> {
        let CommandNode { pos, args } = command;
        let called = piped || args.len() > 1;
        let mut args = args.into_iter();
        let Some(first) = args.next() else { return Ok(CommandNode { pos, args: Vec::new() }) };
        let mut rewritten = match first {
            Expr::Identifier(pos, name) => {
                self.function(pos, &name)?;
                vec![Expr::Identifier(pos, name)]
            }
            Expr::Chain(pos, inner, fields) if matches!(*inner, Expr::Identifier(..)) => {
                // `f.field args`: the field of what `f args` answers.
                let inner =
                    CommandNode { pos, args: std::iter::once(*inner).chain(args).collect() };
                let inner = single(pos, self.command(inner, false)?);
                return Ok(CommandNode { pos, args: member(pos, MEMBER, inner, fields) });
            }
            other => match self.fields(other)? {
                Fields::Of(pos, base, mut fields) if called => {
                    let method = fields.pop();
                    let base = match fields.is_empty() {
                        true => base,
                        false => {
                            let args = member(pos, MEMBER, base, fields);
                            single(pos, CommandNode { pos, args })
                        }
                    };
                    member(pos, CALL, base, method.into_iter().collect())
                }
                Fields::Of(pos, base, fields) => member(pos, MEMBER, base, fields),
                Fields::None(expr) => vec![expr],
            },
        };
        for arg in args {
            rewritten.push(self.argument(arg)?);
        }
        Ok(CommandNode { pos, args: rewritten })
    }

    fn argument(&mut self, expr: Expr) -> Result<Expr, Wrong> {
        Ok(match self.fields(expr)? {
            Fields::Of(pos, base, fields) => {
                single(pos, CommandNode { pos, args: member(pos, MEMBER, base, fields) })
            }
            Fields::None(expr) => expr,
        })
    }

    /// Takes the fields off an expression, and judges the rest.
    fn fields(&mut self, expr: Expr) -> Result<Fields, Wrong> {
        Ok(match expr {
            Expr::Field(pos, fields) => Fields::Of(pos, Expr::Dot(pos), fields),
            Expr::Variable(pos, name, fields) => {
                self.variable(pos, &name)?;
                let variable = Expr::Variable(pos, name, Vec::new());
                match fields.is_empty() {
                    true => Fields::None(variable),
                    false => Fields::Of(pos, variable, fields),
                }
            }
            Expr::Chain(pos, inner, fields) => Fields::Of(pos, self.argument(*inner)?, fields),
            Expr::Pipe(pos, pipe) => Fields::None(Expr::Pipe(pos, self.pipe(pipe)?)),
            Expr::Identifier(pos, name) => {
                self.function(pos, &name)?;
                Fields::None(Expr::Identifier(pos, name))
            }
            other => Fields::None(other),
        })
    }

    fn function(&self, pos: Pos, name: &str) -> Result<(), Wrong> {
        match self.functions.has(name) {
            true => Ok(()),
            false => Err((pos.line, format!("function {name:?} is not defined"))),
        }
    }

    fn variable(&self, pos: Pos, name: &str) -> Result<(), Wrong> {
        match self.known.iter().any(|known| known == name) {
            true => Ok(()),
            false => Err((pos.line, format!("variable {name} is not defined"))),
        }
    }
}

/// Makes strings of what `printf` writes by `%v`, since the crate's own `%v` is not Go's for numbers with fractions.
/// True when the argument that comes through the pipe is one of these.
fn plain_arguments(command: &mut CommandNode) -> bool {
    let [Expr::Identifier(_, name), Expr::String(_, format), args @ ..] = &mut command.args[..]
    else {
        return false;
    };
    if name != "printf" {
        return false;
    }
    let verbs = verbs(format);
    for (arg, verb) in args.iter_mut().zip(&verbs) {
        if *verb == 'v' {
            let pos = arg.pos();
            let plain = Expr::Identifier(pos, SmolStr::new(PLAIN));
            let arg_then = std::mem::replace(arg, Expr::Nil(pos));
            *arg = single(pos, CommandNode { pos, args: vec![plain, arg_then] });
        }
    }
    verbs.get(args.len()) == Some(&'v')
}

/// The verbs of a format that takes its arguments one after the other; none of one that does not.
fn verbs(format: &str) -> Vec<char> {
    let mut verbs = Vec::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            continue;
        }
        let verb = chars.by_ref().find(|c| !c.is_ascii_digit() && !"+-# .".contains(*c));
        match verb {
            Some('*' | '[') => return Vec::new(),
            Some('%') | None => {}
            Some(verb) => verbs.push(verb),
        }
    }
    verbs
}

/// Whether it ends with an escaper, which must stay the last where HTML is escaped.
fn escapes(pipe: &PipeNode) -> bool {
    let first = pipe.commands.last().and_then(|command| command.args.first());
    matches!(first, Some(Expr::Identifier(_, name)) if ["html", "urlquery"].contains(&name.as_str()))
}

/// An expression without its fields, and the fields.
enum Fields {
    Of(Pos, Expr, Vec<SmolStr>),
    None(Expr),
}

/// `function base "field" …`
fn member(pos: Pos, function: &str, base: Expr, fields: Vec<SmolStr>) -> Vec<Expr> {
    let names = fields.into_iter().map(|field| Expr::String(pos, field.as_str().into()));
    let head = [Expr::Identifier(pos, SmolStr::new(function)), base];
    head.into_iter().chain(names).collect()
}

fn pipe_of(pos: Pos, decl: Vec<SmolStr>, command: CommandNode) -> PipeNode {
    PipeNode { pos, decl, commands: vec![command], is_assign: false }
}

fn single(pos: Pos, command: CommandNode) -> Expr {
    Expr::Pipe(pos, pipe_of(pos, Vec::new(), command))
}

fn action(pos: Pos, decl: Vec<SmolStr>, args: Vec<Expr>) -> Node {
    Node::Action(ActionNode { pos, pipe: pipe_of(pos, decl, CommandNode { pos, args }) })
}
