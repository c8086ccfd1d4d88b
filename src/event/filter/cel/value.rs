//! Values of an evaluation: scalars by value, lists and objects of the event where they lie.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::event::filter::document::{Json, Node};

/// `'d` is the document's and the expression's life, `'j` that of the JSON text.
#[derive(Clone, Debug)]
pub(super) enum Value<'d, 'j> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'d, str>),
    /// A list or an object of the event.
    Node(&'d Node<'j>),
    /// A list made by the expression.
    List(Vec<Value<'d, 'j>>),
}

impl<'d, 'j> Value<'d, 'j> {
    pub(super) fn of(node: &'d Node<'j>) -> Self {
        match node.json() {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Int(value) => Self::Int(*value),
            Json::Double(value) => Self::Double(*value),
            Json::Text(text) => Self::Text(Cow::Borrowed(text)),
            Json::List(_) | Json::Object(_) => Self::Node(node),
        }
    }

    /// With an article, for sentences.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Uint(_) | Self::Double(_) => "a number",
            Self::Text(_) => "a string",
            Self::Node(node) if matches!(node.json(), Json::Object(_)) => "an object",
            Self::Node(_) | Self::List(_) => "a list",
        }
    }

    /// The number of elements, if this is a list.
    pub(super) fn list_len(&self) -> Option<usize> {
        match self {
            Self::List(items) => Some(items.len()),
            Self::Node(node) => match node.json() {
                Json::List(items) => Some(items.len()),
                _ => None,
            },
            _ => None,
        }
    }

    /// An element of a list.
    pub(super) fn item(&self, place: usize) -> Option<Self> {
        match self {
            Self::List(items) => items.get(place).cloned(),
            Self::Node(node) => match node.json() {
                Json::List(items) => items.get(place).map(Self::of),
                _ => None,
            },
            _ => None,
        }
    }

    /// The members of an object.
    pub(super) fn members(&self) -> Option<&'d [(Cow<'j, str>, Node<'j>)]> {
        match self {
            Self::Node(node) => match node.json() {
                Json::Object(members) => Some(members),
                _ => None,
            },
            _ => None,
        }
    }

    fn number(&self) -> Option<Number> {
        match self {
            Self::Int(value) => Some(Number::Whole(i128::from(*value))),
            Self::Uint(value) => Some(Number::Whole(i128::from(*value))),
            Self::Double(value) => Some(Number::Double(*value)),
            _ => None,
        }
    }

    /// Order of two numbers by value, whatever their types, of two strings, or of false and true.
    ///
    pub(super) fn order(&self, other: &Self) -> Order {
        if let (Some(left), Some(right)) = (self.number(), other.number()) {
            return left.order(right).map_or(Order::Unordered, Order::Is);
        }
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => Order::Is(left.cmp(right)),
            (Self::Bool(left), Self::Bool(right)) => Order::Is(left.cmp(right)),
            _ => Order::OfDifferentTypes,
        }
    }
}

/// What a comparison of two values finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Is(Ordering),
    /// One of the numbers is not a number.
    Unordered,
    OfDifferentTypes,
}

#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(&right),
            (Self::Whole(left), Self::Double(right)) => whole_to_double(left, right),
            (Self::Double(left), Self::Whole(right)) => whole_to_double(right, left).map(Ordering::reverse),
        }
    }
}

/// Exact: a whole number of 64 bits may have no double of its value.
fn whole_to_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Saturates beyond 128 bits, which is beyond every whole number here.
    let floor = double.floor();
    Some(whole.cmp(&(floor as i128)).then(if double > floor { Ordering::Less } else { Ordering::Equal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_numbers_by_value() {
        let order = |a: Value<'static, 'static>, b| a.order(&b);
        assert_eq!(order(Value::Int(1), Value::Double(1.0)), Order::Is(Ordering::Equal));
        assert_eq!(order(Value::Int(-1), Value::Double(-1.5)), Order::Is(Ordering::Greater));
        assert_eq!(order(Value::Double(1.5), Value::Uint(2)), Order::Is(Ordering::Less));
        assert_eq!(
            order(Value::Int(9_007_199_254_740_993), Value::Double(9_007_199_254_740_992.0)),
            Order::Is(Ordering::Greater)
        );
        assert_eq!(order(Value::Uint(u64::MAX), Value::Int(-1)), Order::Is(Ordering::Greater));
        assert_eq!(order(Value::Int(i64::MAX), Value::Double(f64::INFINITY)), Order::Is(Ordering::Less));
        assert_eq!(order(Value::Int(1), Value::Double(f64::NAN)), Order::Unordered);
        assert_eq!(order(Value::Int(1), Value::Text("1".into())), Order::OfDifferentTypes);
    }
}
