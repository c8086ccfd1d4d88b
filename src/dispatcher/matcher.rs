//! Which subscriptions want an event: an index by event name, then each candidate's filter. Compiled once per plan.

use crate::event::Event;
use crate::event::filter::{Document, Filter};
use crate::event::pattern::{Pattern, PatternIndex};
use crate::plan::model::MatchPlan;

/// Compiled rules of all subscriptions of an instance; `T` tells them apart.
#[derive(Debug)]
pub struct Matcher<T> {
    index: PatternIndex<usize>,
    rules: Vec<(T, Filter)>,
}

/// What one candidate said of an event.
pub type Verdict = Result<bool, String>;

impl<T: Copy> Matcher<T> {
    /// Compiles the rules. Ones that do not compile (the plan was checked, so: a plan from elsewhere) are returned
    /// with the sentence that says why, and match nothing.
    pub fn compile<'a>(rules: impl IntoIterator<Item = (T, &'a MatchPlan)>) -> (Self, Vec<(T, String)>) {
        let mut compiled = Vec::new();
        let mut index = Vec::new();
        let mut broken = Vec::new();
        for (id, plan) in rules {
            match compile_one(plan) {
                Ok((events, exclude, filter)) => {
                    index.push((events, exclude, compiled.len()));
                    compiled.push((id, filter));
                }
                Err(sentence) => broken.push((id, sentence)),
            }
        }
        (Self { index: PatternIndex::new(index), rules: compiled }, broken)
    }

    /// Asks every subscription whose patterns cover the event's name; those that do not want it are left out.
    pub fn verdicts(&self, event: &Event) -> Vec<(T, Verdict)> {
        let document = Document::new(&event.json);
        self.index
            .candidates(&event.name)
            .into_iter()
            .filter_map(|at| self.rules.get(*at))
            .map(|(id, filter)| (*id, if filter.is_empty() { Ok(true) } else { filter.matches(&document) }))
            .filter(|(_, verdict)| *verdict != Ok(false))
            .collect()
    }
}

fn compile_one(plan: &MatchPlan) -> Result<(Vec<Pattern>, Vec<Pattern>, Filter), String> {
    let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::parse(text)).collect::<Result<_, _>>();
    let equals: Vec<(&str, &str)> =
        plan.equals.iter().map(|equal| (equal.path.as_str(), equal.value.as_str())).collect();
    Ok((
        patterns(&plan.events)?,
        patterns(&plan.exclude)?,
        Filter::compile(&equals, plan.expression.as_deref())?,
    ))
}
