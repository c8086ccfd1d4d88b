//! Sentences for expressions that are refused.

use kube_cel::cel::ParseErrors;

/// What may be called.
const FUNCTIONS: [&str; 10] =
    ["has", "size", "startsWith", "endsWith", "contains", "matches", "exists", "exists_one", "all", "filter"];

/// What other languages call the same thing.
const SYNONYMS: [(&str, &str); 14] = [
    ("len", "size"),
    ("length", "size"),
    ("count", "size"),
    ("includes", "contains"),
    ("hasPrefix", "startsWith"),
    ("hasSuffix", "endsWith"),
    ("regex", "matches"),
    ("regexMatch", "matches"),
    ("any", "exists"),
    ("some", "exists"),
    ("every", "all"),
    ("where", "filter"),
    ("find", "filter"),
    ("defined", "has"),
];

/// Position and expectation of the parser's first complaint.
pub(super) fn syntax(errors: &ParseErrors) -> String {
    let Some(first) = errors.errors.first() else {
        return "the expression is not valid CEL".to_owned();
    };
    let message = first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg);
    // The parser lists every token it would have taken; nobody reads that.
    let message = message
        .split(", expecting")
        .next()
        .unwrap_or(message)
        .split(" expecting {")
        .next()
        .unwrap_or(message);
    let words = ["'and'", "'or'", "'not'", "'event'"].iter().any(|word| message.contains(word));
    let hint = if words { "; write `&&`, `||` and `!` in place of `and`, `or` and `not`" } else { "" };
    format!(
        "the expression is not valid CEL at line {}, column {}: {}{hint}",
        first.pos.0,
        first.pos.1,
        message.replace('\n', " ")
    )
}

/// A function that does not exist here, or not in this form.
pub(super) fn function(name: &str) -> String {
    if name == "map" {
        return "`map` is not available; use `exists`, `all` or `filter` on the list, as in \
                `event.data.items.exists(i, i.price > 5)`"
            .to_owned();
    }
    if let Some(usage) = usage(name) {
        return format!("`{name}` is used as {usage}");
    }
    let meant =
        SYNONYMS.iter().find(|(other, _)| *other == name).map(|(_, own)| *own).or_else(|| nearest(name));
    match meant {
        Some(meant) => format!("there is no function `{name}`; did you mean `{meant}`?"),
        None => format!(
            "there is no function `{name}`; there are {}",
            FUNCTIONS.map(|f| format!("`{f}`")).join(", ")
        ),
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    FUNCTIONS
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min()
        .map(|(_, known)| known)
}

/// How a function is written, for one that was called with other arguments.
fn usage(name: &str) -> Option<&'static str> {
    Some(match name {
        "has" => "`has(event.data.role)`: one field behind a dot",
        "size" => "`size(event.data.user_ids)` or `event.data.user_ids.size()`",
        "startsWith" => "`event.data.name.startsWith(\"a\")`",
        "endsWith" => "`event.data.name.endsWith(\"a\")`",
        "contains" => "`event.data.name.contains(\"a\")`",
        "matches" => "`event.data.name.matches(\"^a+$\")`",
        "exists" | "exists_one" | "existsOne" | "all" | "filter" => {
            "`event.data.items.exists(i, i.price > 5)`: a name for the element and a condition"
        }
        _ => return None,
    })
}

/// A name that is no variable.
pub(super) fn variable(name: &str) -> String {
    if strsim::damerau_levenshtein(name, "event") <= 2 {
        return format!("there is no variable `{name}`; did you mean `event`?");
    }
    format!(
        "there is no variable `{name}`, only `event`; did you mean `event.{name}` or the string `\"{name}\"`?"
    )
}
