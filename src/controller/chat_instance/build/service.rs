//! The dispatcher's Service: where events are posted, and where the operator asks.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Owner;

/// Name of the port that takes events.
pub const INTAKE: &str = "intake";

/// Name of the port of probes, metrics, status and observations.
pub const ADMIN: &str = "admin";

/// Container port of the intake.
pub const INTAKE_PORT: i32 = 8080;

/// Container port of the administrator.
pub const ADMIN_PORT: i32 = 9090;

/// One address for events and one for administrators.
pub fn service(owner: &Owner<'_>) -> Service {
    let port = |name: &str, port: i32| ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some("TCP".into()),
        target_port: Some(IntOrString::String(name.into())),
        ..ServicePort::default()
    };
    Service {
        metadata: owner.metadata(owner.dispatcher()),
        spec: Some(ServiceSpec {
            selector: Some(owner.selector()),
            ports: Some(vec![port(INTAKE, 80), port(ADMIN, ADMIN_PORT)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}
