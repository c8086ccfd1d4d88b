//! What kind of address an IP address is, by the IANA special-purpose registries and the clouds' documentation.
//!
//! <https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! <https://www.iana.org/assignments/iana-ipv6-special-registry>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Never delivered to, whatever is allowed. Holds what it is, with an article.
    Forbidden(&'static str),
    /// Delivered to only where it is allowed. Holds what it is, with an article.
    Special(&'static str),
    /// On the public internet.
    Public,
}

type V4 = ([u8; 4], u32, &'static str);
type V6 = ([u16; 8], u32, &'static str);

const METADATA: &str = "a metadata service of a cloud";
const LINK_LOCAL: &str = "a link-local address";
const DOCUMENTATION: &str = "an address for documentation";

const FORBIDDEN_V4: &[V4] = &[
    ([169, 254, 169, 254], 32, METADATA),
    ([169, 254, 170, 2], 32, METADATA),   // Amazon ECS task credentials
    ([169, 254, 170, 23], 32, METADATA),  // Amazon EKS pod identity
    ([100, 100, 100, 200], 32, METADATA), // Alibaba Cloud
    ([168, 63, 129, 16], 32, METADATA),   // Azure WireServer
    ([192, 0, 0, 192], 32, METADATA),     // Oracle Cloud, classic
    ([169, 254, 0, 0], 16, LINK_LOCAL),
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([255, 255, 255, 255], 32, "the broadcast address"),
];

const SPECIAL_V4: &[V4] = &[
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([100, 64, 0, 0], 10, "a shared address of a carrier (RFC 6598)"),
    ([192, 0, 0, 0], 24, "an address for protocol assignments"),
    ([192, 0, 2, 0], 24, DOCUMENTATION),
    ([198, 51, 100, 0], 24, DOCUMENTATION),
    ([203, 0, 113, 0], 24, DOCUMENTATION),
    ([198, 18, 0, 0], 15, "an address for benchmarks"),
    ([192, 88, 99, 0], 24, "a 6to4 relay address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

const FORBIDDEN_V6: &[V6] = &[
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, METADATA), // Amazon EC2
    ([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23], 128, METADATA),  // Amazon EKS pod identity
    ([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, METADATA),  // Google Cloud
    ([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128, METADATA),   // Scaleway
    ([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128, METADATA), // Oracle Cloud
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LINK_LOCAL),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "a multicast address"),
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, "an unspecified address"),
];

const SPECIAL_V6: &[V6] = &[
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, "a loopback address"),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "a private address"),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "a site-local address"),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "a local NAT64 address"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "a Teredo address"),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "an address for protocol assignments"),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, DOCUMENTATION),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, DOCUMENTATION),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "a 6to4 address"),
];

/// Everything that is routed on the public internet lies in 2000::/3.
const GLOBAL_V6: V6 = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, "");

/// The address that packets end up at: an IPv4 address written as IPv6 (`::ffff:0:0/96`) or reached through NAT64
/// (`64:ff9b::/96`, RFC 6052) is that IPv4 address.
pub fn effective(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => {
            let nat64 = matches!(v6.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _]);
            let mapped = v6.to_ipv4_mapped().or_else(|| nat64.then(|| low_bits(v6)));
            mapped.map_or(address, IpAddr::V4)
        }
        IpAddr::V4(_) => address,
    }
}

/// What kind of address it is. What a transition mechanism carries inside counts if it is forbidden.
pub fn classify(address: IpAddr) -> Class {
    match effective(address) {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => {
            let hidden = tunnelled(v6).into_iter().flatten().map(classify_v4);
            hidden
                .chain([classify_v6(v6)])
                .find(|class| matches!(class, Class::Forbidden(_)))
                .unwrap_or_else(|| classify_v6(v6))
        }
    }
}

/// IPv4 addresses inside a 6to4 (RFC 3056), Teredo (RFC 4380) or IPv4-compatible (RFC 4291) address.
pub(super) fn tunnelled(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0x2002, a, b, ..] => [Some(join(a, b)), None],
        [0x2001, 0, a, b, _, _, c, d] => [Some(join(a, b)), Some(join(!c, !d))],
        [0, 0, 0, 0, 0, 0, a, b] if a != 0 => [Some(join(a, b)), None],
        _ => [None, None],
    }
}

fn low_bits(address: Ipv6Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() as u32)
}

fn classify_v4(address: Ipv4Addr) -> Class {
    let within = |(net, length, _): &&V4| {
        let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
        address.to_bits() & mask == u32::from_be_bytes(*net)
    };
    if let Some((_, _, what)) = FORBIDDEN_V4.iter().find(within) {
        return Class::Forbidden(what);
    }
    SPECIAL_V4.iter().find(within).map_or(Class::Public, |(_, _, what)| Class::Special(what))
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let within = |(net, length, _): &&V6| {
        let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
        address.to_bits() & mask == Ipv6Addr::from(*net).to_bits()
    };
    if let Some((_, _, what)) = FORBIDDEN_V6.iter().find(within) {
        return Class::Forbidden(what);
    }
    match SPECIAL_V6.iter().find(within) {
        Some((_, _, what)) => Class::Special(what),
        None if within(&&GLOBAL_V6) => Class::Public,
        None => Class::Special("an address that is not routed on the internet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_told_apart() {
        let forbidden = Class::Forbidden;
        let special = Class::Special;
        for (address, class) in [
            ("169.254.169.254", forbidden(METADATA)),
            ("169.254.170.2", forbidden(METADATA)),
            ("100.100.100.200", forbidden(METADATA)),
            ("168.63.129.16", forbidden(METADATA)),
            ("192.0.0.192", forbidden(METADATA)),
            ("fd00:ec2::254", forbidden(METADATA)),
            ("fd20:ce::254", forbidden(METADATA)),
            ("169.254.0.1", forbidden(LINK_LOCAL)),
            ("fe80::1", forbidden(LINK_LOCAL)),
            ("febf::1", forbidden(LINK_LOCAL)),
            ("0.0.0.0", forbidden("an unspecified address")),
            ("0.1.2.3", forbidden("an unspecified address")),
            ("::", forbidden("an unspecified address")),
            ("224.0.0.1", forbidden("a multicast address")),
            ("239.255.255.255", forbidden("a multicast address")),
            ("ff02::1", forbidden("a multicast address")),
            ("255.255.255.255", forbidden("the broadcast address")),
            ("127.0.0.1", special("a loopback address")),
            ("127.255.255.255", special("a loopback address")),
            ("::1", special("a loopback address")),
            ("10.0.0.0", special("a private address")),
            ("10.255.255.255", special("a private address")),
            ("172.16.0.1", special("a private address")),
            ("172.31.255.255", special("a private address")),
            ("192.168.0.1", special("a private address")),
            ("fc00::1", special("a private address")),
            ("fdff::1", special("a private address")),
            ("fec0::1", special("a site-local address")),
            ("100.64.0.1", special("a shared address of a carrier (RFC 6598)")),
            ("100.127.255.255", special("a shared address of a carrier (RFC 6598)")),
            ("192.0.0.1", special("an address for protocol assignments")),
            ("192.0.2.1", special(DOCUMENTATION)),
            ("198.51.100.1", special(DOCUMENTATION)),
            ("203.0.113.1", special(DOCUMENTATION)),
            ("2001:db8::1", special(DOCUMENTATION)),
            ("3fff::1", special(DOCUMENTATION)),
            ("198.19.255.255", special("an address for benchmarks")),
            ("192.88.99.1", special("a 6to4 relay address")),
            ("240.0.0.1", special("a reserved address")),
            ("2001:2::1", special("an address for protocol assignments")),
            ("64:ff9b:1::1", special("a local NAT64 address")),
            ("100::1", special("an address that is not routed on the internet")),
            ("5f00::1", special("an address that is not routed on the internet")),
            ("1.1.1.1", Class::Public),
            ("9.255.255.255", Class::Public),
            ("11.0.0.0", Class::Public),
            ("172.15.255.255", Class::Public),
            ("172.32.0.0", Class::Public),
            ("100.63.255.255", Class::Public),
            ("100.128.0.0", Class::Public),
            ("192.0.1.0", Class::Public),
            ("198.17.255.255", Class::Public),
            ("223.255.255.255", Class::Public),
            ("2606:4700::1111", Class::Public),
            ("2001:4860:4860::8888", Class::Public),
        ] {
            assert_eq!(classify(address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn ipv4_inside_ipv6_is_seen() {
        for (address, class) in [
            ("::ffff:169.254.169.254", Class::Forbidden(METADATA)),
            ("::ffff:127.0.0.1", Class::Special("a loopback address")),
            ("::ffff:1.1.1.1", Class::Public),
            ("64:ff9b::169.254.169.254", Class::Forbidden(METADATA)),
            ("64:ff9b::10.0.0.1", Class::Special("a private address")),
            ("64:ff9b::1.1.1.1", Class::Public),
            ("2002:a9fe:a9fe::1", Class::Forbidden(METADATA)),
            ("2002:0101:0101::1", Class::Special("a 6to4 address")),
            // Teredo: the server in the open, the client inverted (here 169.254.169.254).
            ("2001:0:a9fe:a9fe::1", Class::Forbidden(METADATA)),
            ("2001:0:101:101:0:0:5601:5601", Class::Forbidden(METADATA)),
            ("2001:0:101:101:0:0:fefe:fefe", Class::Special("a Teredo address")),
            ("::169.254.169.254", Class::Forbidden(METADATA)),
            ("::1.1.1.1", Class::Special("an address that is not routed on the internet")),
        ] {
            assert_eq!(classify(address.parse().unwrap()), class, "{address}");
        }
    }
}
