//! Where deliveries may go. Judged here for literal addresses, and by the dispatcher for every address a name
//! resolves to.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::{Class, classify, effective, tunnelled};
use super::model::EgressPlan;

/// Why something may not be delivered to. As text: a sentence, and the very lines to add where some would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Forbidden { target: Target, what: &'static str },
    Denied { target: Target, range: IpNet },
    Special { target: Target, what: &'static str },
    PlainHttp,
}

/// An address and the name that resolved to it, if it was not written down itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    address: IpAddr,
    host: Option<String>,
}

/// Whether a connection to `address` may be made. `host` is the name that resolved to it; `None` where the URL names
/// the address itself.
///
/// In this order: addresses that are always refused, `deniedCIDRs`, `allowedCIDRs` and `allowedHosts`, private and
/// other special ranges refused, everything else allowed.
pub fn judge(address: IpAddr, host: Option<&str>, egress: &EgressPlan) -> Result<(), Refusal> {
    let target = || Target { address, host: host.map(str::to_owned) };
    let class = classify(address);
    if let Class::Forbidden(what) = class {
        return Err(Refusal { cause: Cause::Forbidden { target: target(), what } });
    }
    if let Some(range) = egress.denied_cidrs.iter().find(|range| covers(range, address, true)) {
        return Err(Refusal { cause: Cause::Denied { target: target(), range: *range } });
    }
    if egress.allowed_cidrs.iter().any(|range| covers(range, address, false))
        || host.is_some_and(|host| allowed_host(host, &egress.allowed_hosts))
    {
        return Ok(());
    }
    match class {
        Class::Special(what) => Err(Refusal { cause: Cause::Special { target: target(), what } }),
        Class::Public | Class::Forbidden(_) => Ok(()),
    }
}

/// What can be said of a URL before any name is resolved: its scheme, and its address if it is literal.
pub fn judge_url(url: &Url, egress: &EgressPlan) -> Result<(), Vec<Refusal>> {
    let mut refusals = Vec::new();
    if url.scheme() == "http" && !egress.plain_http {
        refusals.push(Refusal { cause: Cause::PlainHttp });
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => None,
    };
    if let Some(Err(refusal)) = literal.map(|address| judge(address, None, egress)) {
        refusals.push(refusal);
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// What a ChatInstance allows towards its own platform: that host, be it private or plain http, beside the rest. What is
/// always refused, or denied, stays so.
pub fn for_platform(egress: &EgressPlan, url: &Url) -> EgressPlan {
    let mut own = EgressPlan { plain_http: true, ..egress.clone() };
    match url.host() {
        Some(Host::Ipv4(address)) => own.allowed_cidrs.push(IpNet::from(IpAddr::V4(address))),
        Some(Host::Ipv6(address)) => own.allowed_cidrs.push(IpNet::from(IpAddr::V6(address))),
        Some(Host::Domain(name)) => own.allowed_hosts.push(name.to_ascii_lowercase()),
        None => {}
    }
    own
}

/// Several refusals of one URL as one text, with one block of lines to add.
pub fn explain(refusals: &[Refusal]) -> String {
    let sentences: Vec<String> = refusals.iter().map(|refusal| refusal.cause.to_string()).collect();
    let lines: Vec<String> = refusals.iter().filter_map(|refusal| refusal.cause.line()).collect();
    // Lines that do not help are not shown: what is always refused stays so.
    if lines.len() < refusals.len() {
        return format!("{}.", sentences.join(", and "));
    }
    let mut text = format!(
        "{}. To allow it, add to the ChatInstance:\nspec:\n  dispatcher:\n    egress:",
        sentences.join(", and ")
    );
    for line in lines {
        text.push_str("\n      ");
        text.push_str(&line);
    }
    text
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain(std::slice::from_ref(self)))
    }
}

impl std::error::Error for Refusal {}

impl Cause {
    fn line(&self) -> Option<String> {
        match self {
            Self::PlainHttp => Some("plainHttp: Allow".into()),
            Self::Special { target: Target { host: Some(host), .. }, .. } => {
                Some(format!("allowedHosts: [\"{host}\"]"))
            }
            Self::Special { target: Target { address, host: None }, .. } => {
                Some(format!("allowedCIDRs: [\"{}\"]", IpNet::from(effective(*address))))
            }
            Self::Forbidden { .. } | Self::Denied { .. } => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainHttp => f.write_str("plain http is not allowed by the ChatInstance"),
            Self::Special { target, what } => {
                write!(f, "{target} {what}, which the ChatInstance does not allow")
            }
            Self::Denied { target, range } => {
                write!(
                    f,
                    "{target} in {range}, which deniedCIDRs of the ChatInstance refuse: use another address"
                )
            }
            Self::Forbidden { target, what } => {
                write!(f, "{target} {what}, and deliveries never go there: use another address")
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host} resolves to {},", self.address),
            None => write!(f, "{} is", self.address),
        }
    }
}

/// Whether the range holds the address, or the IPv4 address it stands for; with `inside`, also one it carries inside.
fn covers(range: &IpNet, address: IpAddr, inside: bool) -> bool {
    let carried = match address {
        IpAddr::V6(v6) if inside => tunnelled(v6),
        _ => [None, None],
    };
    range.contains(&address)
        || range.contains(&effective(address))
        || carried.into_iter().flatten().any(|v4| range.contains(&IpAddr::V4(v4)))
}

fn allowed_host(host: &str, allowed: &[String]) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    allowed.iter().any(|rule| match rule.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => host == *rule,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(allowed_hosts: &[&str], allowed: &[&str], denied: &[&str]) -> EgressPlan {
        let nets = |nets: &[&str]| nets.iter().map(|net| net.parse().unwrap()).collect();
        EgressPlan {
            plain_http: false,
            allowed_hosts: allowed_hosts.iter().map(|host| (*host).into()).collect(),
            allowed_cidrs: nets(allowed),
            denied_cidrs: nets(denied),
        }
    }

    fn allowed(address: &str, host: Option<&str>, plan: &EgressPlan) -> bool {
        judge(address.parse().unwrap(), host, plan).is_ok()
    }

    #[test]
    fn the_order_of_the_rules_holds() {
        let none = plan(&[], &[], &[]);
        let everything = plan(&["*.example.com", "example.com"], &["0.0.0.0/0", "::/0"], &[]);
        let denied = plan(&["*.example.com"], &["10.0.0.0/8"], &["10.1.0.0/16", "1.1.1.0/24"]);
        let host = Some("a.example.com");
        for (address, host, plan, expected) in [
            ("1.1.1.1", None, &none, true),
            ("10.0.0.1", None, &none, false),
            ("127.0.0.1", None, &none, false),
            // Always refused, whatever allows it.
            ("169.254.169.254", host, &everything, false),
            ("fd00:ec2::254", host, &everything, false),
            ("::ffff:169.254.169.254", host, &everything, false),
            ("0.0.0.0", host, &everything, false),
            // Loopback is allowed like any private range.
            ("127.0.0.1", None, &everything, true),
            ("::1", None, &everything, true),
            // Denied goes before allowed, for ranges and for names.
            ("10.1.2.3", host, &denied, false),
            ("::ffff:10.1.2.3", host, &denied, false),
            ("64:ff9b::10.1.2.3", host, &denied, false),
            ("2002:a01:203::1", host, &denied, false),
            ("1.1.1.1", None, &denied, false),
            ("10.2.0.1", None, &denied, true),
            ("::ffff:10.2.0.1", None, &denied, true),
            ("192.168.0.1", None, &denied, false),
            ("192.168.0.1", host, &denied, true),
        ] {
            assert_eq!(allowed(address, host, plan), expected, "{address} {host:?}");
        }
    }

    #[test]
    fn names_match_whole_or_below() {
        let plan = plan(&["*.ai.svc", "siem"], &[], &[]);
        for (host, expected) in [
            ("team.ai.svc", true),
            ("a.b.ai.svc", true),
            ("Team.AI.svc.", true),
            ("ai.svc", false),
            ("eviai.svc", false),
            ("siem", true),
            ("siem.example.com", false),
        ] {
            assert_eq!(allowed("10.0.0.1", Some(host), &plan), expected, "{host}");
        }
    }

    #[test]
    fn a_refusal_prints_the_lines_to_add() {
        let none = plan(&[], &[], &[]);
        let text =
            |address: &str, host| judge(address.parse().unwrap(), host, &none).unwrap_err().to_string();
        assert_eq!(
            text("10.0.0.5", None),
            "10.0.0.5 is a private address, which the ChatInstance does not allow. To allow it, add to the \
             ChatInstance:\nspec:\n  dispatcher:\n    egress:\n      allowedCIDRs: [\"10.0.0.5/32\"]"
        );
        assert_eq!(
            text("fd00::5", Some("siem.ai.svc")),
            "siem.ai.svc resolves to fd00::5, a private address, which the ChatInstance does not allow. To \
             allow it, add to the ChatInstance:\nspec:\n  dispatcher:\n    egress:\n      allowedHosts: \
             [\"siem.ai.svc\"]"
        );
        assert_eq!(
            text("169.254.169.254", Some("rebind.example.com")),
            "rebind.example.com resolves to 169.254.169.254, a metadata service of a cloud, and deliveries never \
             go there: use another address."
        );
        let denied = plan(&[], &[], &["10.0.0.0/8"]);
        assert_eq!(
            judge("10.0.0.5".parse().unwrap(), None, &denied).unwrap_err().to_string(),
            "10.0.0.5 is in 10.0.0.0/8, which deniedCIDRs of the ChatInstance refuse: use another address."
        );
    }

    #[test]
    fn a_url_is_judged_by_scheme_and_literal_address_in_any_spelling() {
        let none = plan(&[], &[], &[]);
        for spelling in
            ["http://127.0.0.1:9000/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/"]
        {
            let refusals = judge_url(&spelling.parse().unwrap(), &none).unwrap_err();
            assert_eq!(
                explain(&refusals),
                "plain http is not allowed by the ChatInstance, and 127.0.0.1 is a loopback address, which the \
                 ChatInstance does not allow. To allow it, add to the ChatInstance:\nspec:\n  dispatcher:\n    \
                 egress:\n      plainHttp: Allow\n      allowedCIDRs: [\"127.0.0.1/32\"]",
                "{spelling}"
            );
        }
        assert_eq!(judge_url(&"https://localhost/".parse().unwrap(), &none), Ok(()));
        assert!(judge_url(&"https://[::ffff:169.254.169.254]/".parse().unwrap(), &none).is_err());
    }
}
