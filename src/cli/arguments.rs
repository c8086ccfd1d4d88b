//! What can be written on the command line, and the help that teaches it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::telemetry;

/// `0.1.0 (3f9a1c2b4d5e, 2026-11-21)`, as far as it is known.
pub(super) const VERSION: &str = match (REVISION.is_empty(), DATE.is_empty()) {
    (true, _) => env!("CARGO_PKG_VERSION"),
    (false, true) => concat!(env!("CARGO_PKG_VERSION"), " (", env!("CHATHOOKS_REVISION"), ")"),
    (false, false) => {
        concat!(
            env!("CARGO_PKG_VERSION"),
            " (",
            env!("CHATHOOKS_REVISION"),
            ", ",
            env!("CHATHOOKS_DATE"),
            ")"
        )
    }
};

/// Commit this was built from, empty if unknown.
pub(super) const REVISION: &str = env!("CHATHOOKS_REVISION");
const DATE: &str = env!("CHATHOOKS_DATE");

/// Events of self-hosted chat platforms: declarative, durable, signed.
#[derive(Debug, Parser)]
#[command(name = "chathooks", version = VERSION, arg_required_else_help = true, after_help = NEXT)]
pub(super) struct Arguments {
    /// How logs are written to standard error: auto is text on a terminal and JSON otherwise
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, value_name = "FORMAT")]
    pub(super) log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or directives as in RUST_LOG [default: RUST_LOG, else info]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,

    #[command(subcommand)]
    pub(super) command: Command,
}

const NEXT: &str = "\
First steps:
  chathooks demo                       see events delivered, retried and verified; needs nothing else
  chathooks check my-hooks             is my folder of manifests right?
  chathooks standalone my-hooks        take events and deliver them
  chathooks help standalone            the details of one command

Environment:
  RUST_LOG    what is logged, where --log-level does not say it";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve a folder of manifests: take events, keep them durably, deliver them
    #[command(after_help = STANDALONE)]
    Standalone(StandaloneArguments),
    /// Run the operator of a cluster: make dispatchers for ChatInstances and keep everything as its manifest says
    #[command(after_help = OPERATOR)]
    Operator(OperatorArguments),
    /// Serve one ChatInstance of a cluster: what runs in the pods that the operator makes
    #[command(after_help = DISPATCHER)]
    Dispatcher(DispatcherArguments),
    /// Show it all at work on a temporary folder, with recorded events and a receiver that fails for a while
    Demo(DemoArguments),
    /// Say of every manifest in a folder whether it is right, offline
    #[command(after_help = CHECK)]
    Check(CheckArguments),
    /// Print the CustomResourceDefinitions as YAML
    #[command(after_help = "Example:\n  chathooks crds | kubectl apply -f -")]
    Crds,
    /// Print what the operator may do in a cluster, as the chart reads it
    #[command(hide = true)]
    ChartRbac,
    /// Print a page of docs/ that is made from the code
    #[command(hide = true)]
    Docs {
        /// Which page
        page: Page,
    },
}

/// A page of `docs/` that is made from the code.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Page {
    /// docs/api.md
    Api,
    /// docs/conditions.md
    Conditions,
}

const STANDALONE: &str = "\
DIR holds ChatInstance, WebhookSubscription, Secret and ConfigMap manifests as *.yaml, *.yml or *.json, in any
number of files and folders. A change takes effect within a second. A file that cannot be read leaves its last good
content in force; an object that is not right is paused, and /v1/status says why.

Secrets that no manifest names are made below the data folder, readable by you alone; their place is printed.
Events are on disk before they are answered with 202: keep the data folder on a disk that stays.

Examples:
  chathooks standalone my-hooks
  chathooks standalone my-hooks --data-dir /var/lib/chathooks --listen 0.0.0.0:8080
  curl -s localhost:9090/v1/status";

#[derive(Debug, Args)]
pub(super) struct StandaloneArguments {
    /// Folder of manifests
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// Where events, delivery state and generated Secrets are kept; one process at a time
    #[arg(long, value_name = "DIR", default_value = "./chathooks-data")]
    pub(super) data_dir: PathBuf,
    /// Address at which events are taken
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Address of probes, metrics and /v1/status; open to everyone who reaches it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(super) admin_listen: SocketAddr,
    /// Secrets as Kubernetes mounts them: DIR/<namespace>/<name>/<key>
    #[arg(long, value_name = "DIR")]
    pub(super) secrets_dir: Option<PathBuf>,
    /// How long requests and deliveries under way may take to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub(super) grace: Duration,
}

const DISPATCHER: &str = "\
The operator writes the plan of a ChatInstance into 16 Secrets, <instance>-plan-0 to -15. They are read where they are
mounted, DIR/<n>/plan, so that a dispatcher starts while the API server is away, and watched by name, so that a change
is served at once. The API server is found as in a pod, or by KUBECONFIG.

/readyz says what is waited for. /v1/status and /v1/observed want the bearer token of the Secret <instance>-admin.

Example:
  chathooks dispatcher --namespace ai --instance team-chat --plan-dir /etc/chathooks/plan \\
    --data-dir /var/lib/chathooks --listen 0.0.0.0:8080 --admin-listen 0.0.0.0:9090";

const OPERATOR: &str = "\
Uses the pod's own ServiceAccount, or the cluster of KUBECONFIG. Several replicas may run: all watch and are ready, the
one that holds the Lease writes. charts/chathooks installs it with the rights it needs.

Example:
  chathooks operator --namespace chathooks-system --image registry.example.com/chathooks:0.1.0";

#[derive(Debug, Args)]
pub(super) struct OperatorArguments {
    /// The operator's own namespace, where its Lease is
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE")]
    pub(super) namespace: String,
    /// Namespace to watch; may be given several times [default: all]
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) watch_namespace: Vec<String>,
    /// Image of the dispatcher's pods
    #[arg(long, value_name = "IMAGE", env = "CHATHOOKS_IMAGE")]
    pub(super) image: String,
    /// Name of the Lease for which replicas run
    #[arg(long, value_name = "NAME", default_value = "chathooks-operator")]
    pub(super) lease_name: String,
    /// Name of this replica; no two that live may have the same
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub(super) identity: String,
    /// Address of probes and metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(super) admin_listen: SocketAddr,
    /// How long writes under way may take to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(super) grace: Duration,
}

#[derive(Debug, Args)]
pub(super) struct DispatcherArguments {
    /// Namespace of the ChatInstance
    #[arg(long, value_name = "NAMESPACE")]
    pub(super) namespace: String,
    /// Name of the ChatInstance
    #[arg(long, value_name = "NAME")]
    pub(super) instance: String,
    /// Where the pieces of its plan are mounted
    #[arg(long, value_name = "DIR", default_value = "/etc/chathooks/plan")]
    pub(super) plan_dir: PathBuf,
    /// Where events and delivery state are kept; one process at a time
    #[arg(long, value_name = "DIR", default_value = "/var/lib/chathooks")]
    pub(super) data_dir: PathBuf,
    /// Address at which events are taken
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub(super) listen: SocketAddr,
    /// Address of probes, metrics, /v1/status and /v1/observed
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    pub(super) admin_listen: SocketAddr,
    /// How long requests and deliveries under way may take to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub(super) grace: Duration,
}

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// End after one recorded session: exit 0, or 1 if anything was lost or not verified
    #[arg(long)]
    pub(super) once: bool,
}

const CHECK: &str = "\
Nothing is sent anywhere. Secrets that chathooks makes by itself count as there.

Exit codes:
  0   all is well; warnings may be
  1   a file cannot be read, an object is not accepted, or a reference does not resolve
  2   wrong use

Examples:
  chathooks check my-hooks
  chathooks check deploy/ --allow-missing-refs      a GitOps folder, which holds no Secrets
  chathooks check my-hooks --output json";

#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Folder of manifests
    #[arg(value_name = "DIR")]
    pub(super) directory: PathBuf,
    /// Secrets and ConfigMaps that are not there are warnings
    #[arg(long)]
    pub(super) allow_missing_refs: bool,
    /// Secrets as Kubernetes mounts them: DIR/<namespace>/<name>/<key>
    #[arg(long, value_name = "DIR")]
    pub(super) secrets_dir: Option<PathBuf>,
    /// For people or for machines
    #[arg(long, short, value_enum, default_value_t = CheckOutput::Text, value_name = "FORMAT")]
    pub(super) output: CheckOutput,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum CheckOutput {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Auto,
    Text,
    Json,
}

impl From<LogFormat> for telemetry::Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Auto => Self::Auto,
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Longest `--grace`.
const MAX_GRACE: Duration = Duration::from_hours(1);

fn duration(text: &str) -> Result<Duration, String> {
    let example = "write a duration such as 20s or 1m30s, at most 1h";
    match text.parse::<crate::api::Duration>() {
        Ok(duration) if Duration::from_millis(duration.as_millis()) <= MAX_GRACE => {
            Ok(Duration::from_millis(duration.as_millis()))
        }
        _ => Err(example.to_owned()),
    }
}
