//! stub
use std::sync::Arc;

use crate::log::EventLog;
use crate::plan::model::IntakePlan;

/// What intake needs to know of one ChatInstance.
pub struct IntakeInstance {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Why nothing is taken now.
    pub paused: Option<String>,
    /// Who may post.
    pub auth: IntakePlan,
    /// Where accepted events go.
    pub log: Arc<dyn EventLog>,
}

/// Everything intake serves now; swapped as a whole when the plan changes.
pub type IntakeTable = Arc<Vec<Arc<IntakeInstance>>>;
