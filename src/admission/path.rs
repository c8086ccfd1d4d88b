//! Paths as people write them: `spec.delivery.retry.schedule[2]`.

/// The path of a member.
pub(super) fn member(path: &str, name: &str) -> String {
    let plain =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    match (path.is_empty(), plain) {
        (true, _) => name.to_owned(),
        (false, true) => format!("{path}.{name}"),
        (false, false) => format!("{path}[{name:?}]"),
    }
}

/// The path of an element.
pub(super) fn element(path: &str, place: usize) -> String {
    format!("{path}[{place}]")
}
