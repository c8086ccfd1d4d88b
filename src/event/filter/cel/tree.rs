//! What is left of an expression once it is accepted.

use regex::Regex;

/// An accepted expression.
#[derive(Debug)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    /// The envelope.
    Event,
    /// The variable of the comprehension around this.
    Variable(String),
    Select {
        of: Box<Tree>,
        field: String,
    },
    Has {
        of: Box<Tree>,
        field: String,
    },
    Index {
        of: Box<Tree>,
        index: Box<Tree>,
    },
    List(Vec<Tree>),
    Not(Box<Tree>),
    Negate(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Choice {
        when: Box<Tree>,
        then: Box<Tree>,
        otherwise: Box<Tree>,
    },
    Binary(Operator, Box<Tree>, Box<Tree>),
    Size(Box<Tree>),
    TextTest(TextTest, Box<Tree>, Box<Tree>),
    Matches(Box<Tree>, Box<Regex>),
    Each {
        quantifier: Quantifier,
        list: Box<Tree>,
        body: Box<Tree>,
    },
}

/// Operators that evaluate both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

/// Functions of two strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// The macros that look at each element of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantifier {
    Exists,
    ExistsOne,
    All,
    Filter,
}

/// What a tree evaluates to, as far as it can be told without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    /// With an article, for sentences.
    Other(&'static str),
    Unknown,
}

impl Operator {
    /// As people write it.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }

    /// Whether the result is true or false.
    pub(super) fn is_test(self) -> bool {
        !matches!(self, Self::Add | Self::Subtract | Self::Multiply | Self::Divide | Self::Modulo)
    }
}

impl TextTest {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Contains => "contains",
        }
    }
}

impl Tree {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Bool(_)
            | Self::Has { .. }
            | Self::Not(_)
            | Self::And(..)
            | Self::Or(..)
            | Self::TextTest(..)
            | Self::Matches(..)
            | Self::Each {
                quantifier: Quantifier::Exists | Quantifier::ExistsOne | Quantifier::All, ..
            } => Kind::Bool,
            Self::Null => Kind::Other("null"),
            Self::Int(_) | Self::Uint(_) | Self::Double(_) | Self::Negate(_) | Self::Size(_) => {
                Kind::Other("a number")
            }
            Self::Text(_) => Kind::Other("a string"),
            Self::List(_) | Self::Each { quantifier: Quantifier::Filter, .. } => Kind::Other("a list"),
            Self::Event => Kind::Other("the whole event"),
            Self::Variable(_) | Self::Select { .. } | Self::Index { .. } => Kind::Unknown,
            Self::Binary(operator, ..) if operator.is_test() => Kind::Bool,
            Self::Binary(..) => Kind::Other("a number or a string"),
            Self::Choice { then, otherwise, .. } => match (then.kind(), otherwise.kind()) {
                (Kind::Other(what), _) | (_, Kind::Other(what)) => Kind::Other(what),
                (Kind::Bool, Kind::Bool) => Kind::Bool,
                _ => Kind::Unknown,
            },
        }
    }

    /// The tree as people write it where it is a path, for sentences: `event.actor.role`.
    pub(super) fn path(&self) -> Option<String> {
        match self {
            Self::Event => Some("event".to_owned()),
            Self::Variable(name) => Some(name.clone()),
            Self::Select { of, field } => Some(format!("{}.{field}", of.path()?)),
            Self::Index { of, index } => match index.as_ref() {
                Self::Text(key) => Some(format!("{}[{key:?}]", of.path()?)),
                Self::Int(place) => Some(format!("{}[{place}]", of.path()?)),
                _ => None,
            },
            _ => None,
        }
    }
}
