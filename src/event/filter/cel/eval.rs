//! Evaluates an accepted expression on one event, by the CEL specification, under a budget.
//!
//! <https://github.com/google/cel-spec/blob/master/doc/langdef.md>. Recursion follows the tree, whose depth `scan` has
//! bounded. Errors name what the expression says and never what the event holds.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use super::operate::{calculate, negate, order};
use super::tree::{Operator, Quantifier, TextTest, Tree};
use super::value::{Order, Value};
use crate::event::filter::document::{Document, Node};

/// Most elements of a list that `exists`, `exists_one`, `all` or `filter` looks at.
const MAX_ELEMENTS: usize = 10_000;

/// Steps one evaluation may take; a step is about 10 ns. Small expressions take some dozens.
const BUDGET: u64 = 1_000_000;

/// Bytes of text that count as one step.
const BYTES_A_STEP: usize = 64;

/// Whether the event passes; the error is a sentence.
pub(super) fn holds(tree: &Tree, document: &Document<'_>) -> Result<bool, String> {
    let run = Run { root: document.root(), budget: Cell::new(BUDGET) };
    match run.eval(tree, None) {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(other) => {
            Err(format!("the expression gave {} on this event, and must give true or false", other.what()))
        }
        Err(Fault::Failed(sentence)) => Err(sentence),
        Err(Fault::Exhausted) => {
            Err("the expression needs too much work on this event; look at less of it, or at shorter lists"
                .to_owned())
        }
    }
}

/// Why there is no value.
pub(super) enum Fault {
    /// Another operand of `&&` or `||` may still decide.
    Failed(String),
    /// Nothing may go on.
    Exhausted,
}

pub(super) type Outcome<'d, 'j> = Result<Value<'d, 'j>, Fault>;

pub(super) fn failed<T>(sentence: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Failed(sentence.into()))
}

struct Run<'d, 'j> {
    root: &'d Node<'j>,
    budget: Cell<u64>,
}

impl<'d, 'j> Run<'d, 'j> {
    fn spend(&self, steps: usize) -> Result<(), Fault> {
        let left = self.budget.get().checked_sub(steps as u64).ok_or(Fault::Exhausted)?;
        self.budget.set(left);
        Ok(())
    }

    /// The value of a part of the event, with the price of reading it.
    fn read(&self, node: &'d Node<'j>) -> Outcome<'d, 'j> {
        self.spend(node.unread() / BYTES_A_STEP)?;
        Ok(Value::of(node))
    }

    fn eval(&self, tree: &'d Tree, element: Option<&Value<'d, 'j>>) -> Outcome<'d, 'j> {
        self.spend(1)?;
        match tree {
            Tree::Null => Ok(Value::Null),
            Tree::Bool(value) => Ok(Value::Bool(*value)),
            Tree::Int(value) => Ok(Value::Int(*value)),
            Tree::Uint(value) => Ok(Value::Uint(*value)),
            Tree::Double(value) => Ok(Value::Double(*value)),
            Tree::Text(text) => Ok(Value::Text(Cow::Borrowed(text))),
            Tree::Event => self.read(self.root),
            Tree::Variable(_) => Ok(element.cloned().unwrap_or(Value::Null)),
            Tree::Select { of, field } => self.select(tree, of, field, element),
            Tree::Has { of, field } => {
                let of = self.eval(of, element)?;
                Ok(Value::Bool(self.member(&of, field)?.is_some()))
            }
            Tree::Index { of, index } => self.index(tree, of, index, element),
            Tree::List(items) => {
                items.iter().map(|item| self.eval(item, element)).collect::<Result<_, _>>().map(Value::List)
            }
            Tree::Not(of) => Ok(Value::Bool(!self.condition(of, element)?)),
            Tree::Negate(of) => negate(&self.eval(of, element)?),
            Tree::And(left, right) => self.decide(left, right, false, element),
            Tree::Or(left, right) => self.decide(left, right, true, element),
            Tree::Choice { when, then, otherwise } => {
                self.eval(if self.condition(when, element)? { then } else { otherwise }, element)
            }
            Tree::Binary(operator, left, right) => {
                let left = self.eval(left, element)?;
                let right = self.eval(right, element)?;
                self.binary(*operator, left, &right)
            }
            Tree::Size(of) => self.size(of, element),
            Tree::TextTest(test, of, part) => self.text_test(*test, of, part, element),
            Tree::Matches(of, regex) => {
                let of = self.eval(of, element)?;
                let Value::Text(text) = &of else {
                    return failed(format!(
                        "`matches` looks at a string, and this event has {} there",
                        of.what()
                    ));
                };
                self.spend(text.len())?;
                Ok(Value::Bool(regex.is_match(text)))
            }
            Tree::Each { quantifier, list, body } => self.each(*quantifier, list, body),
        }
    }

    /// The price of looking at every element of a list or an object.
    fn go_through(&self, owner: &Value<'d, 'j>) -> Result<(), Fault> {
        match owner {
            Value::Node(node) => self.spend(node.raw().len() / BYTES_A_STEP),
            _ => Ok(()),
        }
    }

    fn member(&self, of: &Value<'d, 'j>, field: &str) -> Result<Option<&'d Node<'j>>, Fault> {
        let Some(members) = of.members() else {
            return Ok(None);
        };
        self.spend(members.len() / 8)?;
        Ok(members.iter().find(|(key, _)| key == field).map(|(_, node)| node))
    }

    fn select(
        &self,
        tree: &Tree,
        of: &'d Tree,
        field: &str,
        element: Option<&Value<'d, 'j>>,
    ) -> Outcome<'d, 'j> {
        let owner = self.eval(of, element)?;
        if let Some(node) = self.member(&owner, field)? {
            return self.read(node);
        }
        let shown = tree.path().unwrap_or_else(|| format!("….{field}"));
        if owner.members().is_some() {
            return failed(format!("this event has no `{shown}`; ask first, `has({shown}) && …`"));
        }
        failed(format!("this event has no `{shown}`: what stands before `.{field}` is {}", owner.what()))
    }

    fn index(
        &self,
        tree: &Tree,
        of: &'d Tree,
        index: &'d Tree,
        element: Option<&Value<'d, 'j>>,
    ) -> Outcome<'d, 'j> {
        let owner = self.eval(of, element)?;
        let index = self.eval(index, element)?;
        let shown =
            || tree.path().map_or_else(|| "the place asked for".to_owned(), |path| format!("`{path}`"));
        if let (Some(_), Value::Text(key)) = (owner.members(), &index) {
            return match self.member(&owner, key)? {
                Some(node) => self.read(node),
                None => failed(format!("this event has no {}; ask first with `in`", shown())),
            };
        }
        let place = match (owner.list_len(), &index) {
            (Some(_), Value::Int(place)) => usize::try_from(*place).ok(),
            (Some(_), Value::Uint(place)) => usize::try_from(*place).ok(),
            _ => return failed(format!("{} cannot be indexed with {}", owner.what(), index.what())),
        };
        match place.and_then(|place| owner.item(place)) {
            Some(item) => Ok(item),
            None => failed(format!("this event has no {}; ask first with `size`", shown())),
        }
    }

    fn condition(&self, tree: &'d Tree, element: Option<&Value<'d, 'j>>) -> Result<bool, Fault> {
        match self.eval(tree, element)? {
            Value::Bool(value) => Ok(value),
            other => {
                let shown = tree.path().map_or_else(|| "a condition".to_owned(), |path| format!("`{path}`"));
                failed(format!("{shown} is {} on this event, and must be true or false", other.what()))
            }
        }
    }

    /// `&&` and `||`: a side that decides wins over a side that fails, whichever comes first.
    fn decide(
        &self,
        left: &'d Tree,
        right: &'d Tree,
        decisive: bool,
        element: Option<&Value<'d, 'j>>,
    ) -> Outcome<'d, 'j> {
        let left = self.condition(left, element);
        match left {
            Err(Fault::Exhausted) => return Err(Fault::Exhausted),
            Ok(value) if value == decisive => return Ok(Value::Bool(decisive)),
            _ => {}
        }
        let right = self.condition(right, element)?;
        if right == decisive { Ok(Value::Bool(decisive)) } else { left.map(Value::Bool) }
    }

    fn binary(&self, operator: Operator, left: Value<'d, 'j>, right: &Value<'d, 'j>) -> Outcome<'d, 'j> {
        match operator {
            Operator::Equal => self.equal(&left, right).map(Value::Bool),
            Operator::NotEqual => self.equal(&left, right).map(|equal| Value::Bool(!equal)),
            Operator::In => self.contains(right, &left).map(Value::Bool),
            Operator::Less => order(operator, &left, right, |o| o == Ordering::Less),
            Operator::LessOrEqual => order(operator, &left, right, |o| o != Ordering::Greater),
            Operator::Greater => order(operator, &left, right, |o| o == Ordering::Greater),
            Operator::GreaterOrEqual => order(operator, &left, right, |o| o != Ordering::Less),
            Operator::Add => match (left, right) {
                (Value::Text(left), Value::Text(right)) => {
                    self.spend((left.len() + right.len()) / BYTES_A_STEP)?;
                    Ok(Value::Text(Cow::Owned(left.into_owned() + right)))
                }
                (left, right) if left.list_len().is_some() && right.list_len().is_some() => {
                    self.join(&left, right)
                }
                (left, right) => calculate(operator, &left, right),
            },
            _ => calculate(operator, &left, right),
        }
    }

    fn join(&self, left: &Value<'d, 'j>, right: &Value<'d, 'j>) -> Outcome<'d, 'j> {
        let mut joined = Vec::new();
        for list in [left, right] {
            self.go_through(list)?;
            self.spend(list.list_len().unwrap_or_default())?;
            joined.extend((0..).map_while(|place| list.item(place)));
        }
        Ok(Value::List(joined))
    }

    /// By value; values of different types are unequal, numbers compare across theirs.
    fn equal(&self, left: &Value<'d, 'j>, right: &Value<'d, 'j>) -> Result<bool, Fault> {
        self.spend(1)?;
        if let Value::Text(text) = left {
            self.spend(text.len() / BYTES_A_STEP)?;
        }
        match left.order(right) {
            Order::Is(order) => return Ok(order == Ordering::Equal),
            Order::Unordered => return Ok(false),
            Order::OfDifferentTypes => {}
        }
        if let (Some(left), Some(right_members)) = (left.members(), right.members()) {
            if left.len() != right_members.len() {
                return Ok(false);
            }
            for (key, node) in left {
                let Some(other) = self.member(right, key)? else {
                    return Ok(false);
                };
                if !self.equal(&self.read(node)?, &self.read(other)?)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if let (Some(length), Some(other)) = (left.list_len(), right.list_len()) {
            if length != other {
                return Ok(false);
            }
            self.go_through(left)?;
            self.go_through(right)?;
            for place in 0..length {
                if let (Some(left), Some(right)) = (left.item(place), right.item(place))
                    && !self.equal(&left, &right)?
                {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Ok(matches!((left, right), (Value::Null, Value::Null)))
    }

    /// `in`: an element of a list, or a key of an object.
    fn contains(&self, owner: &Value<'d, 'j>, wanted: &Value<'d, 'j>) -> Result<bool, Fault> {
        if owner.members().is_some() {
            return match wanted {
                Value::Text(key) => Ok(self.member(owner, key)?.is_some()),
                _ => Ok(false),
            };
        }
        let Some(length) = owner.list_len() else {
            return failed(format!(
                "`in` looks into a list or an object, and this event has {} there",
                owner.what()
            ));
        };
        self.go_through(owner)?;
        for place in 0..length {
            if let Some(item) = owner.item(place)
                && self.equal(&item, wanted)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn size(&self, of: &'d Tree, element: Option<&Value<'d, 'j>>) -> Outcome<'d, 'j> {
        let of = self.eval(of, element)?;
        let size = match &of {
            Value::Text(text) => {
                self.spend(text.len() / BYTES_A_STEP)?;
                Some(text.chars().count())
            }
            other => other.list_len().or_else(|| other.members().map(<[_]>::len)),
        };
        match size {
            Some(size) => Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX))),
            None => failed(format!(
                "`size` measures strings, lists and objects, and this event has {} there",
                of.what()
            )),
        }
    }

    fn text_test(
        &self,
        test: TextTest,
        of: &'d Tree,
        part: &'d Tree,
        element: Option<&Value<'d, 'j>>,
    ) -> Outcome<'d, 'j> {
        let of = self.eval(of, element)?;
        let part = self.eval(part, element)?;
        let (Value::Text(text), Value::Text(part)) = (&of, &part) else {
            let other = if matches!(of, Value::Text(_)) { &part } else { &of };
            return failed(format!(
                "`{}` compares two strings, and this event has {} in place of one",
                test.name(),
                other.what()
            ));
        };
        self.spend((text.len() + part.len()) / BYTES_A_STEP)?;
        Ok(Value::Bool(match test {
            TextTest::StartsWith => text.starts_with(part.as_ref()),
            TextTest::EndsWith => text.ends_with(part.as_ref()),
            TextTest::Contains => text.contains(part.as_ref()),
        }))
    }

    fn each(&self, quantifier: Quantifier, list: &'d Tree, body: &'d Tree) -> Outcome<'d, 'j> {
        let owner = self.eval(list, None)?;
        // Over an object, the variable is the key.
        let keys = owner.members();
        let length = match (owner.list_len(), keys) {
            (Some(length), _) => length,
            (None, Some(members)) => members.len(),
            (None, None) => {
                return failed(format!(
                    "the expression goes through a list, and this event has {} there",
                    owner.what()
                ));
            }
        };
        if length > MAX_ELEMENTS {
            return failed(format!(
                "the expression goes through a list of more than {MAX_ELEMENTS} elements"
            ));
        }
        self.go_through(&owner)?;
        let element = |place: usize| match keys {
            Some(members) => members.get(place).map(|(key, _)| Value::Text(Cow::Borrowed(key.as_ref()))),
            None => owner.item(place),
        };
        match quantifier {
            Quantifier::Exists => self.any(length, element, body, true),
            Quantifier::All => self.any(length, element, body, false),
            Quantifier::ExistsOne => {
                let mut count = 0_usize;
                for item in (0..length).filter_map(element) {
                    count += usize::from(self.condition(body, Some(&item))?);
                }
                Ok(Value::Bool(count == 1))
            }
            Quantifier::Filter => {
                let mut kept = Vec::new();
                for item in (0..length).filter_map(element) {
                    if self.condition(body, Some(&item))? {
                        kept.push(item);
                    }
                }
                Ok(Value::List(kept))
            }
        }
    }

    /// Joins the elements' conditions with `||` (decisive true) or `&&` (decisive false).
    fn any(
        &self,
        length: usize,
        element: impl Fn(usize) -> Option<Value<'d, 'j>>,
        body: &'d Tree,
        decisive: bool,
    ) -> Outcome<'d, 'j> {
        let mut fault = None;
        for item in (0..length).filter_map(element) {
            match self.condition(body, Some(&item)) {
                Ok(value) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(Fault::Exhausted) => return Err(Fault::Exhausted),
                Err(failed) => fault = Some(failed),
            }
        }
        fault.map_or(Ok(Value::Bool(!decisive)), Err)
    }
}
