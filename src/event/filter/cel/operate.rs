//! Arithmetic and order of two values.

use std::cmp::Ordering;

use super::eval::{Outcome, failed};
use super::tree::Operator;
use super::value::{Order, Value};

/// `-` before a number.
pub(super) fn negate<'d, 'j>(of: &Value<'d, 'j>) -> Outcome<'d, 'j> {
    match of {
        Value::Int(value) => value.checked_neg().map_or_else(|| failed(overflow("-")), |v| Ok(Value::Int(v))),
        Value::Double(value) => Ok(Value::Double(-value)),
        other => failed(format!("`-` cannot be applied to {}", other.what())),
    }
}

fn overflow(symbol: &str) -> String {
    format!("`{symbol}` gives a number that does not fit into 64 bits on this event")
}

/// `<`, `<=`, `>` and `>=`.
pub(super) fn order<'d, 'j>(
    operator: Operator,
    left: &Value<'d, 'j>,
    right: &Value<'d, 'j>,
    holds: impl Fn(Ordering) -> bool,
) -> Outcome<'d, 'j> {
    match left.order(right) {
        Order::Is(order) => Ok(Value::Bool(holds(order))),
        Order::Unordered => Ok(Value::Bool(false)),
        Order::OfDifferentTypes => {
            failed(format!("`{}` cannot compare {} with {}", operator.symbol(), left.what(), right.what()))
        }
    }
}

/// Arithmetic within one type: CEL converts no numbers by itself.
pub(super) fn calculate<'d, 'j>(
    operator: Operator,
    left: &Value<'d, 'j>,
    right: &Value<'d, 'j>,
) -> Outcome<'d, 'j> {
    let symbol = operator.symbol();
    match (left, right) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0))
            if matches!(operator, Operator::Divide | Operator::Modulo) =>
        {
            failed(format!("`{symbol}` divides by zero on this event"))
        }
        (Value::Int(left), Value::Int(right)) => match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide => left.checked_div(*right),
            _ => left.checked_rem(*right),
        }
        .map_or_else(|| failed(overflow(symbol)), |value| Ok(Value::Int(value))),
        (Value::Uint(left), Value::Uint(right)) => match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide => left.checked_div(*right),
            _ => left.checked_rem(*right),
        }
        .map_or_else(|| failed(overflow(symbol)), |value| Ok(Value::Uint(value))),
        (Value::Double(left), Value::Double(right)) if operator != Operator::Modulo => {
            Ok(Value::Double(match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                _ => left / right,
            }))
        }
        (Value::Int(_) | Value::Uint(_), Value::Double(_))
        | (Value::Double(_), Value::Int(_) | Value::Uint(_)) => failed(format!(
            "`{symbol}` has an integer on one side and a decimal number on the other; write `2.0` for 2"
        )),
        (left, right) => {
            failed(format!("`{symbol}` cannot be applied to {} and {}", left.what(), right.what()))
        }
    }
}
