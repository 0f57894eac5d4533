//! The parser's tree into the plan, checking types on the way.

use std::time::{Duration, SystemTime};

use promql_parser::{
    label::{MatchOp, Matcher as AstMatcher},
    parser::{
        AggregateExpr, AtModifier, BinaryExpr, Call as AstCall, Expr as Ast, LabelModifier, Offset,
        VectorMatchCardinality, VectorSelector, token, value::ValueType,
    },
};
use regex::Regex;

use super::{locate::Locator, rewrite::ANY, token::Token};
use crate::{
    METRIC_NAME, Matcher,
    promql::{
        ParseError,
        functions::Function,
        plan::{
            Aggregate, AggregateOp, At, Binary, BinaryOp, Call, Cardinality, Ends, Kind, Matching,
            Node, Position, Selector, Subquery, What, When,
        },
    },
};

type Parsed<T> = Result<T, ParseError>;

pub(super) struct Converter<'a> {
    locator: Locator<'a>,
    experimental: &'a mut Vec<String>,
}

impl<'a> Converter<'a> {
    pub(super) fn new(
        text: &'a str,
        tokens: &'a [Token<'a>],
        experimental: &'a mut Vec<String>,
    ) -> Self {
        Self { locator: Locator::new(text, tokens), experimental }
    }

    pub(super) fn node(&mut self, ast: &Ast) -> Parsed<Node> {
        self.locator.pluses();
        let mut position = self.locator.here();
        let what = match ast {
            Ast::NumberLiteral(literal) => {
                self.locator.literal();
                What::Number(literal.val)
            }
            Ast::StringLiteral(literal) => {
                self.locator.text()?;
                What::Text(literal.val.clone())
            }
            Ast::VectorSelector(vector) => {
                let ends = self.locator.selector(ast);
                if ends == Ends::Anchored {
                    return Err(ParseError::new("anchored modifier needs a range: x[5m] anchored"));
                }
                What::Vector(self.selected(vector, ends)?)
            }
            Ast::MatrixSelector(matrix) => {
                let ends = self.locator.selector(ast);
                What::Range(self.selected(&matrix.vs, ends)?, positive(matrix.range)?)
            }
            Ast::Paren(paren) => {
                self.locator.skip("(");
                let inner = self.node(&paren.expr)?;
                self.locator.skip(")");
                What::Paren(Box::new(inner))
            }
            Ast::Unary(unary) => {
                self.locator.skip("-");
                What::Negate(Box::new(self.node(&unary.expr)?))
            }
            Ast::Subquery(subquery) => {
                let expr = self.node(&subquery.expr)?;
                if self.locator.suffix() != Ends::Plain {
                    return Err(ParseError::new(
                        "anchored and smoothed modifiers are for selectors, not for subqueries",
                    ));
                }
                position = expr.position;
                What::Subquery(Box::new(Subquery {
                    expr,
                    range_ms: positive(subquery.range)?,
                    step_ms: subquery.step.map(positive).transpose()?,
                    when: when(subquery.at.as_ref(), subquery.offset.as_ref())?,
                }))
            }
            Ast::Call(call) => self.call(call)?,
            Ast::Aggregate(aggregate) => self.aggregate(aggregate, position)?,
            Ast::Binary(binary) => {
                let binary = self.binary(binary)?;
                position = binary.lhs.position;
                What::Binary(Box::new(binary))
            }
            Ast::Extension(_) => return Err(ParseError::new("extensions are not supported")),
        };
        Ok(Node { what, position })
    }

    /// How many words `anchored` and `smoothed` were understood.
    pub(super) fn extensions(&self) -> usize {
        self.locator.extensions()
    }

    fn selected(&mut self, ast: &VectorSelector, ends: Ends) -> Parsed<Selector> {
        match ends {
            Ends::Plain => {}
            Ends::Anchored => self.experimental.push("anchored".to_owned()),
            Ends::Smoothed => self.experimental.push("smoothed".to_owned()),
        }
        Ok(Selector { ends, ..selector(ast)? })
    }

    fn call(&mut self, call: &AstCall) -> Parsed<What> {
        let name = call.func.name;
        let function = Function::named(name)
            .ok_or_else(|| ParseError::new(format!("function {name:?} is not supported")))?;
        if call.func.experimental {
            self.experimental.push(name.to_owned());
        }
        self.locator.operator();
        self.locator.skip("(");
        let mut args = Vec::with_capacity(call.args.args.len());
        for (at, arg) in call.args.args.iter().enumerate() {
            if at > 0 {
                self.locator.skip(",");
            }
            let node = self.node(arg)?;
            let types = &call.func.arg_types;
            let wanted = types.get(at).or(types.last()).map(kind_of);
            if wanted != Some(node.kind()) {
                return Err(ParseError::new(format!(
                    "argument {} of {name} has the wrong type",
                    at + 1
                )));
            }
            args.push(node);
        }
        self.locator.skip(")");
        if function == Function::Info
            && args.get(1).is_some_and(|a| !matches!(a.what, What::Vector(_)))
        {
            return Err(ParseError::new(
                "expected label selectors only as second argument of info",
            ));
        }
        Ok(What::Call(Call { function, args }))
    }

    fn aggregate(&mut self, ast: &AggregateExpr, position: Position) -> Parsed<What> {
        let op = aggregate_op(ast.op.id())
            .ok_or_else(|| ParseError::new(format!("aggregation {} is not supported", ast.op)))?;
        if matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio) {
            self.experimental.push(ast.op.to_string());
        }
        self.locator.operator();
        let grouped = self.locator.grouping();
        self.locator.skip("(");
        let param = match &ast.param {
            Some(param) => {
                let node = self.node(param)?;
                self.locator.skip(",");
                let wanted = if op == AggregateOp::CountValues { Kind::Text } else { Kind::Scalar };
                if node.kind() != wanted {
                    let message = format!("the first argument of {} has the wrong type", ast.op);
                    return Err(ParseError::new(message));
                }
                Some(node)
            }
            None => None,
        };
        let expr = self.node(&ast.expr)?;
        self.locator.skip(")");
        if !grouped {
            self.locator.grouping();
        }
        let (without, labels) = match &ast.modifier {
            None => (false, Vec::new()),
            Some(LabelModifier::Include(labels)) => (false, names(&labels.labels)),
            Some(LabelModifier::Exclude(labels)) => (true, names(&labels.labels)),
        };
        Ok(What::Aggregate(Box::new(Aggregate { op, position, expr, param, without, labels })))
    }

    fn binary(&mut self, ast: &BinaryExpr) -> Parsed<Binary> {
        let op = binary_op(ast.op.id())
            .ok_or_else(|| ParseError::new(format!("operator {} is not supported", ast.op)))?;
        let lhs = self.node(&ast.lhs)?;
        let op = match self.locator.operator() {
            "</" => BinaryOp::TrimUpper,
            ">/" => BinaryOp::TrimLower,
            _ => op,
        };
        if ast.modifier.is_some() {
            self.locator.matching();
        }
        let rhs = self.node(&ast.rhs)?;
        let mut matching = Matching {
            cardinality: Cardinality::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        if let Some(modifier) = &ast.modifier {
            match &modifier.card {
                VectorMatchCardinality::ManyToOne(labels) => {
                    matching.cardinality = Cardinality::ManyToOne;
                    matching.include = names(&labels.labels);
                }
                VectorMatchCardinality::OneToMany(labels) => {
                    matching.cardinality = Cardinality::OneToMany;
                    matching.include = names(&labels.labels);
                }
                VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {}
            }
            matching.on = modifier.is_matching_on();
            matching.labels =
                modifier.matching.as_ref().map(|m| names(&m.labels().labels)).unwrap_or_default();
            matching.fill_left = modifier.fill_values.lhs;
            matching.fill_right = modifier.fill_values.rhs;
        }
        let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
        if fills && op.is_set() {
            return Err(ParseError::new("filling in missing series not allowed for set operators"));
        }
        if fills && (lhs.kind() != Kind::Vector || rhs.kind() != Kind::Vector) {
            return Err(ParseError::new("filling in missing series only allowed between vectors"));
        }
        let return_bool = ast.return_bool();
        if op.is_trim() && return_bool {
            return Err(ParseError::new("bool modifier can only be used on comparison operators"));
        }
        Ok(Binary { op, lhs, rhs, matching, return_bool })
    }
}

fn kind_of(value: &ValueType) -> Kind {
    match value {
        ValueType::Vector => Kind::Vector,
        ValueType::Scalar => Kind::Scalar,
        ValueType::Matrix => Kind::Matrix,
        ValueType::String => Kind::Text,
    }
}

/// Sorted, each once.
fn names(labels: &[String]) -> Vec<String> {
    let mut names = labels.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}

fn selector(ast: &VectorSelector) -> Parsed<Selector> {
    if !ast.matchers.or_matchers.is_empty() {
        return Err(ParseError::new("\"or\" between label matchers is not supported"));
    }
    let name = ast.name.iter().map(|name| Ok(Matcher::Equal(METRIC_NAME.into(), name.clone())));
    let given = ast.matchers.matchers.iter().filter(|m| m.name != ANY);
    let matchers: Parsed<Vec<Matcher>> = name.chain(given.map(matcher)).collect();
    let when = when(ast.at.as_ref(), ast.offset.as_ref())?;
    Ok(Selector { matchers: matchers?, when, ends: Ends::Plain })
}

fn matcher(ast: &AstMatcher) -> Parsed<Matcher> {
    let refused = |e: &dyn std::fmt::Display| ParseError::new(e.to_string());
    match &ast.op {
        MatchOp::Equal => Ok(Matcher::Equal(ast.name.clone(), ast.value.clone())),
        MatchOp::NotEqual => Ok(Matcher::NotEqual(ast.name.clone(), ast.value.clone())),
        MatchOp::Re(regex) => Matcher::regex(&ast.name, &ast.value)
            .or_else(|e| Matcher::regex(&ast.name, escaped(regex)).map_err(|_| e))
            .map_err(|e| refused(&e)),
        MatchOp::NotRe(regex) => Matcher::not_regex(&ast.name, &ast.value)
            .or_else(|e| Matcher::not_regex(&ast.name, escaped(regex)).map_err(|_| e))
            .map_err(|e| refused(&e)),
    }
}

/// The pattern as the parser made it compile: braces that repeat nothing are plain in Go, errors in Rust.
fn escaped(regex: &Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix("^(?:").and_then(|t| t.strip_suffix(")$")).unwrap_or(text)
}

fn millis(duration: Duration) -> Parsed<i64> {
    i64::try_from(duration.as_millis()).map_err(|_| ParseError::new("duration out of range"))
}

fn positive(duration: Duration) -> Parsed<i64> {
    match millis(duration)? {
        0 => Err(ParseError::new("duration must be greater than 0")),
        ms => Ok(ms),
    }
}

fn when(at: Option<&AtModifier>, offset: Option<&Offset>) -> Parsed<When> {
    let at = match at {
        None => At::Step,
        Some(AtModifier::Start) => At::Start,
        Some(AtModifier::End) => At::End,
        Some(AtModifier::At(time)) => At::Time(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after)?,
            Err(before) => -millis(before.duration())?,
        }),
    };
    let offset_ms = match offset {
        None => 0,
        Some(Offset::Pos(duration)) => millis(*duration)?,
        Some(Offset::Neg(duration)) => -millis(*duration)?,
    };
    Ok(When { at, offset_ms })
}

fn aggregate_op(id: token::TokenId) -> Option<AggregateOp> {
    Some(match id {
        token::T_SUM => AggregateOp::Sum,
        token::T_AVG => AggregateOp::Avg,
        token::T_COUNT => AggregateOp::Count,
        token::T_MIN => AggregateOp::Min,
        token::T_MAX => AggregateOp::Max,
        token::T_GROUP => AggregateOp::Group,
        token::T_STDDEV => AggregateOp::Stddev,
        token::T_STDVAR => AggregateOp::Stdvar,
        token::T_TOPK => AggregateOp::Topk,
        token::T_BOTTOMK => AggregateOp::Bottomk,
        token::T_COUNT_VALUES => AggregateOp::CountValues,
        token::T_QUANTILE => AggregateOp::Quantile,
        token::T_LIMITK => AggregateOp::Limitk,
        token::T_LIMIT_RATIO => AggregateOp::LimitRatio,
        _ => return None,
    })
}

fn binary_op(id: token::TokenId) -> Option<BinaryOp> {
    Some(match id {
        token::T_ADD => BinaryOp::Add,
        token::T_SUB => BinaryOp::Sub,
        token::T_MUL => BinaryOp::Mul,
        token::T_DIV => BinaryOp::Div,
        token::T_MOD => BinaryOp::Mod,
        token::T_POW => BinaryOp::Pow,
        token::T_ATAN2 => BinaryOp::Atan2,
        token::T_EQLC => BinaryOp::Equal,
        token::T_NEQ => BinaryOp::NotEqual,
        token::T_GTR => BinaryOp::Greater,
        token::T_LSS => BinaryOp::Less,
        token::T_GTE => BinaryOp::GreaterEqual,
        token::T_LTE => BinaryOp::LessEqual,
        token::T_LAND => BinaryOp::And,
        token::T_LOR => BinaryOp::Or,
        token::T_LUNLESS => BinaryOp::Unless,
        _ => return None,
    })
}
