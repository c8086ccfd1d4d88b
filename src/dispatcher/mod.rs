//! The data plane: intake, match, sign, deliver. Knows nothing but its [`Plan`](crate::plan::Plan).

pub mod admin;
pub mod http_server;
pub mod intake;
pub mod problem;
