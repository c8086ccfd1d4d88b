//! Condition types, their reasons, and how a list of them is kept.
