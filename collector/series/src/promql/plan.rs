//! The engine's own form of an expression. The parser's types end where this is made.

use crate::{Matcher, promql::functions::Function};

/// The type of an expression's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Text,
    Vector,
    Matrix,
}

/// Where an expression begins in its text, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// An expression and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) what: What,
    pub(crate) position: Position,
}

/// What an expression is.
#[derive(Debug)]
pub(crate) enum What {
    Number(f64),
    Text(String),
    /// An instant vector selector.
    Vector(Selector),
    /// A range vector selector and its range in milliseconds.
    Range(Selector, i64),
    Subquery(Box<Subquery>),
    Call(Call),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    Negate(Box<Node>),
    Paren(Box<Node>),
}

/// When a selector looks, before its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// At the step's time.
    Step,
    /// At the start of the whole query.
    Start,
    /// At its end.
    End,
    /// At this time.
    Time(i64),
}

/// Which time a selector or subquery means at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct When {
    pub(crate) at: At,
    pub(crate) offset_ms: i64,
}

/// How the ends of what a selector selects are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Ends {
    /// As they are.
    #[default]
    Plain,
    /// The last sample before a window stands at its beginning.
    Anchored,
    /// Values at the ends are interpolated.
    Smoothed,
}

/// Series of all matchers.
#[derive(Debug)]
pub(crate) struct Selector {
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) when: When,
    pub(crate) ends: Ends,
}

/// `expr[range:step]`
#[derive(Debug)]
pub(crate) struct Subquery {
    pub(crate) expr: Node,
    pub(crate) range_ms: i64,
    pub(crate) step_ms: Option<i64>,
    pub(crate) when: When,
}

/// A function call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: Function,
    pub(crate) args: Vec<Node>,
}

/// Aggregation operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }
}

/// `op by (labels) (param, expr)`
#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(crate) op: AggregateOp,
    pub(crate) position: Position,
    pub(crate) expr: Node,
    pub(crate) param: Option<Node>,
    pub(crate) without: bool,
    /// Sorted, each once.
    pub(crate) labels: Vec<String>,
}

/// Binary operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    /// `</`: a histogram's observations below a number.
    TrimUpper,
    /// `>/`: those above it.
    TrimLower,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub(crate) fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | Less | GreaterEqual | LessEqual)
    }

    /// Whether results are no longer what the metric's name says.
    pub(crate) fn renames(self) -> bool {
        use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
        matches!(self, Add | Sub | Mul | Div | Mod | Pow | Atan2)
    }

    pub(crate) fn is_trim(self) -> bool {
        matches!(self, Self::TrimUpper | Self::TrimLower)
    }

    pub(crate) fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }

    /// As it is written.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterEqual => ">=",
            Self::LessEqual => "<=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }
}

/// Which side may have several series per match group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cardinality {
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

/// How the two sides of an operation find each other.
#[derive(Debug)]
pub(crate) struct Matching {
    pub(crate) cardinality: Cardinality,
    /// `on` rather than `ignoring`.
    pub(crate) on: bool,
    /// Sorted, each once.
    pub(crate) labels: Vec<String>,
    /// Labels taken from the one side.
    pub(crate) include: Vec<String>,
    pub(crate) fill_left: Option<f64>,
    pub(crate) fill_right: Option<f64>,
}

/// `lhs op rhs`
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) op: BinaryOp,
    pub(crate) lhs: Node,
    pub(crate) rhs: Node,
    pub(crate) matching: Matching,
    pub(crate) return_bool: bool,
}

impl Node {
    pub(crate) fn kind(&self) -> Kind {
        match &self.what {
            What::Number(_) => Kind::Scalar,
            What::Text(_) => Kind::Text,
            What::Vector(_) | What::Aggregate(_) => Kind::Vector,
            What::Range(..) | What::Subquery(_) => Kind::Matrix,
            What::Call(call) => call.function.returns(),
            What::Binary(binary) => {
                let scalars =
                    binary.lhs.kind() == Kind::Scalar && binary.rhs.kind() == Kind::Scalar;
                if scalars { Kind::Scalar } else { Kind::Vector }
            }
            What::Negate(node) | What::Paren(node) => node.kind(),
        }
    }

    /// The expression without parentheses around it.
    pub(crate) fn bare(&self) -> &Self {
        let mut node = self;
        while let What::Paren(inner) = &node.what {
            node = inner;
        }
        node
    }

    /// The expressions directly below.
    pub(crate) fn children(&self) -> Vec<&Self> {
        match &self.what {
            What::Number(_) | What::Text(_) | What::Vector(_) | What::Range(..) => Vec::new(),
            What::Subquery(subquery) => vec![&subquery.expr],
            What::Call(call) => call.args.iter().collect(),
            What::Aggregate(aggregate) => {
                std::iter::once(&aggregate.expr).chain(&aggregate.param).collect()
            }
            What::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            What::Negate(node) | What::Paren(node) => vec![node],
        }
    }
}
