//! From the parser's syntax tree to the part of CEL that is allowed, or a sentence.

use kube_cel::cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, ListExpr, LiteralValue, operators,
};
use regex::{Regex, RegexBuilder};

use super::hints;
use super::tree::{Kind, Operator, Quantifier, TextTest, Tree};

/// Longest list literal.
const MAX_LIST: usize = 256;

/// Memory of one compiled regular expression, in bytes; again as much for its cache.
const MAX_REGEX: usize = 256 * 1024;

/// Checks and translates; the error is a sentence that says what to write instead.
pub(super) fn lower(expression: &IdedExpr) -> Result<Tree, String> {
    tree(&expression.expr, None)
}

/// `variable` is that of the comprehension around the expression.
fn tree(expression: &Expr, variable: Option<&str>) -> Result<Tree, String> {
    match expression {
        Expr::Literal(literal) => constant(literal),
        Expr::Ident(name) if name == "event" => Ok(Tree::Event),
        Expr::Ident(name) if Some(name.as_str()) == variable => Ok(Tree::Variable(name.clone())),
        Expr::Ident(name) => Err(hints::variable(name)),
        Expr::Select(select) => {
            let of = boxed(&select.operand, variable)?;
            let field = select.field.clone();
            Ok(if select.test { Tree::Has { of, field } } else { Tree::Select { of, field } })
        }
        Expr::List(list) => list_literal(list, variable),
        Expr::Call(call) => call_of(call, variable),
        Expr::Comprehension(comprehension) => each(comprehension, variable),
        Expr::Map(_) | Expr::Struct(_) => {
            Err("the expression builds a map with `{…}`, which a filter has no use for; write a list, `[…]`"
                .to_owned())
        }
        Expr::Unspecified => Err("the expression is not valid CEL".to_owned()),
    }
}

fn boxed(expression: &IdedExpr, variable: Option<&str>) -> Result<Box<Tree>, String> {
    tree(&expression.expr, variable).map(Box::new)
}

fn constant(literal: &LiteralValue) -> Result<Tree, String> {
    Ok(match literal {
        LiteralValue::Boolean(value) => Tree::Bool(*value.inner()),
        LiteralValue::Int(value) => Tree::Int(*value.inner()),
        LiteralValue::UInt(value) => Tree::Uint(*value.inner()),
        LiteralValue::Double(value) => Tree::Double(*value.inner()),
        LiteralValue::String(value) => Tree::Text(value.inner().to_owned()),
        LiteralValue::Null => Tree::Null,
        LiteralValue::Bytes(_) => {
            return Err(
                "the expression holds bytes, `b\"…\"`, and JSON has none; write a string, `\"…\"`".to_owned()
            );
        }
    })
}

fn list_literal(list: &ListExpr, variable: Option<&str>) -> Result<Tree, String> {
    if list.elements.len() > MAX_LIST {
        return Err(format!(
            "the expression has a list of {} elements, and at most {MAX_LIST} are taken; use `startsWith` or `matches`, \
             or several subscriptions",
            list.elements.len()
        ));
    }
    list.elements
        .iter()
        .map(|element| tree(&element.expr, variable))
        .collect::<Result<_, _>>()
        .map(Tree::List)
}

fn call_of(call: &CallExpr, variable: Option<&str>) -> Result<Tree, String> {
    let name = call.func_name.as_str();
    // `size(x)` and `x.size()` are the same; operators have no target.
    let operands: Vec<&IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
    let is_method = call.target.is_some();
    match (name, operands.as_slice()) {
        (operators::LOGICAL_NOT, [of]) => Ok(Tree::Not(condition(of, variable, "!")?)),
        (operators::NEGATE, [of]) => Ok(Tree::Negate(boxed(of, variable)?)),
        (operators::LOGICAL_AND, [left, right]) => {
            Ok(Tree::And(condition(left, variable, "&&")?, condition(right, variable, "&&")?))
        }
        (operators::LOGICAL_OR, [left, right]) => {
            Ok(Tree::Or(condition(left, variable, "||")?, condition(right, variable, "||")?))
        }
        (operators::CONDITIONAL, [when, then, otherwise]) => Ok(Tree::Choice {
            when: condition(when, variable, "?")?,
            then: boxed(then, variable)?,
            otherwise: boxed(otherwise, variable)?,
        }),
        (operators::INDEX, [of, index]) => {
            Ok(Tree::Index { of: boxed(of, variable)?, index: boxed(index, variable)? })
        }
        ("size", [of]) => Ok(Tree::Size(boxed(of, variable)?)),
        ("startsWith", [of, part]) if is_method => text_test(TextTest::StartsWith, of, part, variable),
        ("endsWith", [of, part]) if is_method => text_test(TextTest::EndsWith, of, part, variable),
        ("contains", [of, part]) if is_method => text_test(TextTest::Contains, of, part, variable),
        ("matches", [of, pattern]) => {
            Ok(Tree::Matches(boxed(of, variable)?, Box::new(regex(&pattern.expr)?)))
        }
        (symbol, [left, right]) => match operator(symbol) {
            Some(operator) => Ok(Tree::Binary(operator, boxed(left, variable)?, boxed(right, variable)?)),
            None => Err(hints::function(name)),
        },
        _ => Err(hints::function(name)),
    }
}

fn text_test(test: TextTest, of: &IdedExpr, part: &IdedExpr, variable: Option<&str>) -> Result<Tree, String> {
    Ok(Tree::TextTest(test, boxed(of, variable)?, boxed(part, variable)?))
}

/// An operand that has to be true or false.
fn condition(operand: &IdedExpr, variable: Option<&str>, symbol: &str) -> Result<Box<Tree>, String> {
    let tree = boxed(operand, variable)?;
    match tree.kind() {
        Kind::Other(what) => {
            Err(format!("`{symbol}` needs true or false, and is given {what}; compare it with something"))
        }
        Kind::Bool | Kind::Unknown => Ok(tree),
    }
}

fn operator(symbol: &str) -> Option<Operator> {
    Some(match symbol {
        operators::ADD => Operator::Add,
        operators::SUBSTRACT => Operator::Subtract,
        operators::MULTIPLY => Operator::Multiply,
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Modulo,
        operators::EQUALS => Operator::Equal,
        operators::NOT_EQUALS => Operator::NotEqual,
        operators::LESS => Operator::Less,
        operators::LESS_EQUALS => Operator::LessOrEqual,
        operators::GREATER => Operator::Greater,
        operators::GREATER_EQUALS => Operator::GreaterOrEqual,
        operators::IN => Operator::In,
        _ => return None,
    })
}

fn regex(pattern: &Expr) -> Result<Regex, String> {
    let Expr::Literal(LiteralValue::String(pattern)) = pattern else {
        return Err("`matches` takes its regular expression as a string written out, as in \
                    `event.data.name.matches(\"^a+$\")`"
            .to_owned());
    };
    let built = RegexBuilder::new(pattern.inner()).size_limit(MAX_REGEX).dfa_size_limit(MAX_REGEX).build();
    built.map_err(|error| {
        let pattern = pattern.inner();
        if matches!(error, regex::Error::CompiledTooBig(_)) {
            return format!(
                "the regular expression `{pattern}` needs too much memory; write smaller repetitions"
            );
        }
        let text = error.to_string();
        let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the regular expression `{pattern}` is not valid (RE2 syntax): {reason}")
    })
}

/// Recognises a macro by what the parser makes of it.
fn each(comprehension: &ComprehensionExpr, outer: Option<&str>) -> Result<Tree, String> {
    let variable = comprehension.iter_var.as_str();
    let Some((quantifier, body)) = quantifier(comprehension) else {
        return Err(hints::function("map"));
    };
    if outer.is_some() || is_comprehension(&comprehension.iter_range.expr) {
        return Err("the expression has `exists`, `exists_one`, `all` or `filter` inside another; join the conditions \
                    with `&&` in one of them, or use several subscriptions"
            .to_owned());
    }
    if variable == "event" {
        return Err(
            "the element is named `event`, which is the whole event; name it otherwise, `exists(e, …)`"
                .to_owned(),
        );
    }
    let list = boxed(&comprehension.iter_range, None)?;
    let body = boxed(body, Some(variable))?;
    if let Kind::Other(what) = body.kind() {
        return Err(format!(
            "the condition about `{variable}` is {what}, and must be true or false; compare it with something"
        ));
    }
    Ok(Tree::Each { quantifier, list, body })
}

fn quantifier(comprehension: &ComprehensionExpr) -> Option<(Quantifier, &IdedExpr)> {
    let Expr::Call(step) = &comprehension.loop_step.expr else {
        return None;
    };
    match (step.func_name.as_str(), step.args.as_slice()) {
        (operators::LOGICAL_OR, [_, body]) => Some((Quantifier::Exists, body)),
        (operators::LOGICAL_AND, [_, body]) => Some((Quantifier::All, body)),
        (operators::CONDITIONAL, [body, IdedExpr { expr: Expr::Call(then), .. }, _]) => {
            match then.args.as_slice() {
                [_, IdedExpr { expr: Expr::Literal(_), .. }] => Some((Quantifier::ExistsOne, body)),
                [_, IdedExpr { expr: Expr::List(kept), .. }]
                    if keeps_the_element(kept, &comprehension.iter_var) =>
                {
                    Some((Quantifier::Filter, body))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// `filter` keeps its elements; `map` with a condition makes others of them.
fn keeps_the_element(kept: &ListExpr, variable: &str) -> bool {
    matches!(kept.elements.as_slice(), [IdedExpr { expr: Expr::Ident(name), .. }] if name == variable)
}

/// Whether a comprehension stands anywhere in the expression.
fn is_comprehension(expression: &Expr) -> bool {
    match expression {
        Expr::Comprehension(_) => true,
        Expr::Call(call) => {
            call.target.as_deref().into_iter().chain(&call.args).any(|part| is_comprehension(&part.expr))
        }
        Expr::Select(select) => is_comprehension(&select.operand.expr),
        Expr::List(list) => list.elements.iter().any(|part| is_comprehension(&part.expr)),
        _ => false,
    }
}
