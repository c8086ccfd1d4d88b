//! The data plane: intake, match, sign, deliver. Knows nothing but its [`Plan`](crate::plan::Plan).

pub mod intake;
