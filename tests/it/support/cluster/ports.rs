//! Ports and the address that the processes of a test listen on.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

/// Below what Linux takes for outgoing connections, so that none of those sits on a port before we do.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A port that nobody listens on and that this process did not give away before.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = rand::random_range(PORTS);
        let new = GIVEN.lock().unwrap().insert(port);
        if new && TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// The address of the one node: an EndpointSlice takes no loopback address.
pub fn node_address() -> Ipv4Addr {
    static ADDRESS: LazyLock<Ipv4Addr> = LazyLock::new(|| {
        if let Some(address) = own_address() {
            return address;
        }
        // For documentation (RFC 5737): nobody routes it.
        let added = Command::new("ip").args(["address", "add", "198.51.100.1/32", "dev", "lo"]).status();
        own_address().unwrap_or_else(|| {
            panic!(
                "this machine has no IPv4 address but 127.0.0.1, and an EndpointSlice takes none of those; give it \
                 one, as root: ip address add 198.51.100.1/32 dev lo ({added:?})"
            )
        })
    });
    *ADDRESS
}

/// The first address of this machine that is neither loopback nor link-local.
fn own_address() -> Option<Ipv4Addr> {
    let table = std::fs::read_to_string("/proc/net/fib_trie").ok()?;
    let mut address = None;
    for line in table.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("|-- ") {
            address = text.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) =
                address.filter(|address| !address.is_loopback() && !address.is_link_local())
        {
            return Some(address);
        }
    }
    None
}
