//! Event names that the platform is not known to send: worth a word, never a refusal, because platforms grow and
//! whoever pushes brings names of their own.

use super::verdict::Judgement;
use crate::api::chat_instance::Platform;
use crate::event::catalogue;
use crate::event::pattern::{self, Pattern};

/// Names a platform is known to send, and what that knowledge is called; `None` where anything may come.
pub(super) fn known_events(platform: Platform) -> Option<(&'static [&'static str], &'static str)> {
    match platform {
        Platform::OpenWebUI => Some((catalogue::open_webui(), "Open WebUI 0.12.4")),
        Platform::Generic => None,
    }
}

/// Warns of patterns in `field` that match none of the known names.
pub(super) fn unknown_names(field: &str, patterns: &[Pattern], platform: Platform, found: &mut Judgement) {
    let Some((names, source)) = known_events(platform) else { return };
    for (place, pattern) in patterns.iter().enumerate() {
        if catalogue::pattern_matches_any(pattern, names) {
            continue;
        }
        let hint = catalogue::nearest_pattern(pattern, names)
            .map_or_else(|| ".".into(), |near| format!("; did you mean {near}?"));
        found.warn(format!("{field}[{place}]: {pattern} matches no event of {source}{hint}"));
    }
}

/// Whether `exclude` leaves nothing of `events`: by the patterns alone, or because it takes every known name that a
/// pattern with `*` stands for.
pub(super) fn leaves_nothing(events: &[Pattern], exclude: &[Pattern], platform: Option<Platform>) -> bool {
    let names = platform.and_then(known_events).map_or(&[][..], |(names, _)| names);
    let all_known_are_excluded = |pattern: &Pattern| {
        let mut known = names.iter().filter(|name| pattern.matches(name)).peekable();
        known.peek().is_some() && known.all(|name| exclude.iter().any(|without| without.matches(name)))
    };
    let open: Vec<Pattern> = events
        .iter()
        .filter(|pattern| matches!(pattern, Pattern::Exact(_)) || !all_known_are_excluded(pattern))
        .cloned()
        .collect();
    pattern::leaves_nothing(&open, exclude)
}
