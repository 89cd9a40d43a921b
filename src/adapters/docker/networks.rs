//! Finds the address at which the proxy reaches a container.
//!
//! An address is used only if one of the proxy's own interfaces is in the same network. That holds for a proxy on the
//! host, in a container and on the host network alike, without an inspection of the proxy itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use domain::container::{Addresses, Reach, Unreachable};

use super::api_types::{Endpoint, NetworkSettings};

/// The host's name of an engine's default bridge.
const BRIDGE_INTERFACES: [&str; 2] = ["docker0", "podman0"];
/// Files that engines create in every container.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// The IPv4 routes of Linux.
const ROUTES: &str = "/proc/net/route";
/// The shortest prefix of a network. A shorter one from the engine is a mistake that would make all networks one.
const SHORTEST_PREFIX: u8 = 4;

/// An address of one of the proxy's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    pub ip: IpAddr,
    /// The length of the network's prefix in bits.
    pub prefix: u8,
}

/// The networks of the machine that the proxy runs on.
#[derive(Debug, Clone, Default)]
pub struct LocalNetworks {
    /// The proxy's addresses, without loopback and link-local ones.
    pub own: Vec<OwnAddress>,
    /// The engine's bridge is among the interfaces: the proxy is on the host network.
    pub sees_bridge: bool,
    pub in_container: bool,
    /// The gateway of the default route.
    pub default_gateway: Option<IpAddr>,
    pub engine_is_local: bool,
    /// The gateways in the networks of known containers, which are addresses of the host.
    pub gateways: BTreeSet<IpAddr>,
    /// The Compose project of the proxy.
    pub own_project: Option<String>,
}

impl LocalNetworks {
    /// Reads the interfaces, unless `own` replaces them.
    pub fn detect(own: Option<&[OwnAddress]>, engine_is_local: bool) -> Self {
        let interfaces = match own {
            Some(_) => Vec::new(),
            None => if_addrs::get_if_addrs().unwrap_or_default(),
        };
        let from_interfaces = interfaces.iter().filter(|i| is_usable(i.ip())).map(|interface| OwnAddress {
            ip: interface.ip(),
            prefix: match &interface.addr {
                if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                if_addrs::IfAddr::V6(v6) => v6.prefixlen,
            },
        });
        Self {
            own: own.map_or_else(|| from_interfaces.collect(), <[OwnAddress]>::to_vec),
            sees_bridge: interfaces.iter().any(|i| BRIDGE_INTERFACES.contains(&i.name.as_str())),
            in_container: CONTAINER_MARKS.iter().any(|mark| std::path::Path::new(mark).exists()),
            default_gateway: std::fs::read_to_string(ROUTES).ok().and_then(|routes| default_gateway(&routes)),
            engine_is_local,
            gateways: BTreeSet::new(),
            own_project: None,
        }
    }

    /// Notes that an unreachable container belongs to another Compose project than the proxy.
    pub fn note_project(&self, reach: &mut Reach, project: Option<&String>) {
        if let (Reach::Nowhere(why), Some(own)) = (reach, &self.own_project) {
            why.other_project = project.filter(|project| *project != own).cloned();
        }
    }

    pub fn learn(&mut self, settings: &NetworkSettings) {
        for end in settings.networks.values() {
            self.gateways.extend([&end.gateway, &end.ipv6_gateway].into_iter().filter_map(|text| usable(text)));
        }
    }

    /// Returns the addresses of a container with these networks.
    pub fn reach(&self, network_mode: &str, settings: &NetworkSettings) -> Reach {
        if network_mode == "host" {
            return match self.host() {
                Some(ip) => Reach::At(ip.into()),
                None => self.nowhere(vec!["the host's own network".to_owned()]),
            };
        }
        let ipv4 = settings.networks.values().filter_map(ipv4);
        let ipv6 = settings.networks.values().filter_map(ipv6);
        let mut shared: Vec<_> = ipv4.chain(ipv6).filter(|theirs| self.shares(*theirs)).collect();
        // The sort is stable, so networks are in order of name otherwise.
        shared.sort_by_key(|theirs| !self.is_gateway_of(*theirs));
        match Addresses::in_order(shared.iter().map(|theirs| theirs.ip)) {
            Some(addresses) => Reach::At(addresses),
            None => self.nowhere(settings.networks.iter().map(|(name, end)| described(name, end)).collect()),
        }
    }

    /// Returns true if the proxy is the gateway of the network of this address, as the host is for its bridges. From
    /// the host a network with another gateway may be unreachable: a container on a macvlan has an address in the
    /// host's own network, but the kernel passes no packets between the two.
    fn is_gateway_of(&self, theirs: OwnAddress) -> bool {
        self.own.iter().any(|own| {
            let is_first = match (own.ip, own.prefix) {
                (IpAddr::V4(ip), 1..32) => ip.to_bits() & (u32::MAX >> own.prefix) == 1,
                (IpAddr::V6(ip), 1..128) => ip.to_bits() & (u128::MAX >> own.prefix) == 1,
                _ => false,
            };
            let is_gateway = is_first || self.gateways.contains(&own.ip);
            is_gateway && same_network(theirs.ip, own.ip, own.prefix.max(theirs.prefix))
        })
    }

    pub fn nowhere(&self, theirs: Vec<String>) -> Reach {
        let ours = self.own.iter().map(|own| format!("{}/{}", own.ip, own.prefix)).collect();
        Reach::Nowhere(Unreachable { theirs, ours, other_project: None })
    }

    fn shares(&self, theirs: OwnAddress) -> bool {
        self.own.iter().any(|own| {
            let prefix = if theirs.prefix >= SHORTEST_PREFIX { theirs.prefix } else { own.prefix };
            same_network(theirs.ip, own.ip, prefix)
        })
    }

    /// Returns the address of the engine's host.
    fn host(&self) -> Option<IpAddr> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        if !self.engine_is_local {
            return None;
        }
        if self.sees_bridge || self.own.iter().any(|own| self.gateways.contains(&own.ip)) {
            return Some(loopback);
        }
        if let Some(gateway) = self.gateways.iter().find(|ip| self.shares(OwnAddress { ip: **ip, prefix: 0 })) {
            return Some(*gateway);
        }
        match self.in_container {
            true => self.default_gateway.filter(|ip| self.shares(OwnAddress { ip: *ip, prefix: 0 })),
            false => Some(loopback),
        }
    }
}

/// Returns true if two addresses agree in their first `prefix` bits.
fn same_network(a: IpAddr, b: IpAddr, prefix: u8) -> bool {
    let agree = |different: u128, width: u32| {
        let prefix = u32::from(prefix);
        prefix >= 1 && prefix <= width && different.checked_shr(width - prefix).unwrap_or(0) == 0
    };
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => agree(u128::from(a.to_bits() ^ b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => agree(a.to_bits() ^ b.to_bits(), 128),
        _ => false,
    }
}

/// Returns true if requests may go to an address: not to the proxy itself, not to a link-local neighbor such as a
/// cloud's metadata service, and not to everyone.
fn is_usable(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some(),
    };
    !(link_local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

fn usable(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|ip| is_usable(*ip))
}

fn address(text: &str, prefix: i64) -> Option<OwnAddress> {
    usable(text).map(|ip| OwnAddress { ip, prefix: u8::try_from(prefix).unwrap_or(0) })
}

fn ipv4(end: &Endpoint) -> Option<OwnAddress> {
    address(&end.ip_address, end.ip_prefix_len)
}

fn ipv6(end: &Endpoint) -> Option<OwnAddress> {
    address(&end.global_ipv6_address, end.global_ipv6_prefix_len)
}

/// Returns the addresses of a container by network.
pub fn addresses(settings: &NetworkSettings) -> Vec<(String, Vec<IpAddr>)> {
    let both = |end: &Endpoint| [ipv4(end), ipv6(end)].into_iter().flatten().map(|own| own.ip).collect();
    settings.networks.iter().map(|(name, end)| (name.clone(), both(end))).collect()
}

fn described(name: &str, end: &Endpoint) -> String {
    match ipv4(end).or_else(|| ipv6(end)) {
        Some(own) => format!("{name} ({}/{})", own.ip, own.prefix),
        None => name.to_owned(),
    }
}

/// Returns the gateway of the default route. The kernel's table has hexadecimal words in native byte order.
fn default_gateway(routes: &str) -> Option<IpAddr> {
    routes.lines().skip(1).find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (destination, gateway) = (words.next()?, words.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|_| destination == "00000000")?;
        Some(IpAddr::V4(Ipv4Addr::from(gateway.to_ne_bytes()))).filter(|ip| is_usable(*ip))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn here(own: &[(&str, u8)]) -> LocalNetworks {
        LocalNetworks {
            own: own.iter().map(|(ip, prefix)| OwnAddress { ip: ip.parse().unwrap(), prefix: *prefix }).collect(),
            engine_is_local: true,
            in_container: true,
            ..LocalNetworks::default()
        }
    }

    fn on(networks: serde_json::Value) -> NetworkSettings {
        serde_json::from_value(serde_json::json!({ "Networks": networks })).unwrap()
    }

    fn at(ip: &str) -> Reach {
        Reach::At(ip.parse::<IpAddr>().unwrap().into())
    }

    #[test]
    fn the_network_that_both_are_on_is_taken() {
        let networks = on(serde_json::json!({
            "a": {"IPAddress": "172.20.0.3", "IPPrefixLen": 16},
            "b": {"IPAddress": "172.21.0.3", "IPPrefixLen": 16, "GlobalIPv6Address": "fd00::3", "GlobalIPv6PrefixLen": 64},
        }));
        for (own, expected) in [
            (&[("172.20.0.9", 16)][..], &["172.20.0.3"][..]),
            (&[("172.21.0.9", 16)], &["172.21.0.3"]),
            (&[("172.21.0.9", 16), ("172.20.0.9", 16)], &["172.20.0.3", "172.21.0.3"]),
            (&[("fd00::9", 64)], &["fd00::3"]),
            (&[("fd00::9", 64), ("172.21.0.9", 16)], &["172.21.0.3", "fd00::3"]),
        ] {
            assert_eq!(here(own).reach("a", &networks), all_at(expected), "{own:?}");
        }
    }

    fn all_at(ips: &[&str]) -> Reach {
        Reach::At(Addresses::in_order(ips.iter().map(|ip| ip.parse().unwrap())).unwrap())
    }

    #[test]
    fn every_shared_address_is_told_and_those_across_another_gateway_come_last() {
        let networks = on(serde_json::json!({
            "a-macvlan": {"IPAddress": "192.168.1.77", "IPPrefixLen": 24, "Gateway": "192.168.1.1"},
            "b-bridge": {"IPAddress": "172.21.0.3", "IPPrefixLen": 16, "Gateway": "172.21.0.1"},
            "c-internal": {"IPAddress": "172.22.0.3", "IPPrefixLen": 16, "Gateway": "",
                "GlobalIPv6Address": "fd00::3", "GlobalIPv6PrefixLen": 64},
            "d-elsewhere": {"IPAddress": "10.9.0.3", "IPPrefixLen": 16, "Gateway": "10.9.0.1"},
        }));
        let host = here(&[("192.168.1.5", 24), ("172.21.0.1", 16), ("172.22.0.1", 16), ("fd00::1", 64)]);
        let order = ["172.21.0.3", "172.22.0.3", "fd00::3", "192.168.1.77"];
        assert_eq!(host.reach("b-bridge", &networks), all_at(&order), "seen from the host");
        let beside = here(&[("192.168.1.9", 24), ("172.21.0.9", 16)]);
        assert_eq!(beside.reach("b-bridge", &networks), all_at(&["192.168.1.77", "172.21.0.3"]), "in a container");
    }

    #[test]
    fn without_a_shared_network_both_sides_are_named() {
        let networks = on(serde_json::json!({"back": {"IPAddress": "172.20.0.3", "IPPrefixLen": 16}, "none": null}));
        let Reach::Nowhere(why) = here(&[("172.21.0.9", 16)]).reach("back", &networks) else { panic!("reached") };
        assert_eq!(why.theirs, ["back (172.20.0.3/16)", "none"]);
        assert_eq!(why.ours, ["172.21.0.9/16"]);
    }

    #[test]
    fn the_engine_cannot_send_requests_to_places_that_are_no_containers() {
        for ip in ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "255.255.255.255", "", "x", "1.2.3.4:80"] {
            let networks = on(serde_json::json!({"a": {"IPAddress": ip, "IPPrefixLen": 8}}));
            let own = here(&[("127.0.0.1", 8), ("169.254.169.1", 16), ("0.0.0.0", 8), ("224.0.0.2", 8)]);
            assert!(matches!(own.reach("a", &networks), Reach::Nowhere(_)), "{ip}");
        }
        for ip in ["::1", "fe80::1", "::", "ff02::1", "::ffff:169.254.169.254"] {
            let networks = on(serde_json::json!({"a": {"GlobalIPv6Address": ip, "GlobalIPv6PrefixLen": 8}}));
            let own = here(&[("::2", 8), ("fe80::2", 8), ("ff02::2", 8)]);
            assert!(matches!(own.reach("a", &networks), Reach::Nowhere(_)), "{ip}");
        }
    }

    #[test]
    fn a_prefix_of_nothing_does_not_make_all_networks_one() {
        for prefix in [-1, 0, 1, 300] {
            let networks = on(serde_json::json!({"a": {"IPAddress": "172.20.0.3", "IPPrefixLen": prefix}}));
            assert!(matches!(here(&[("10.0.0.1", 8)]).reach("a", &networks), Reach::Nowhere(_)), "{prefix}");
            assert_eq!(here(&[("172.20.9.9", 16)]).reach("a", &networks), at("172.20.0.3"), "{prefix}");
        }
    }

    #[test]
    fn a_container_on_the_hosts_network_is_reached_through_the_host() {
        let host = on(serde_json::json!({"host": {"IPAddress": ""}}));
        let others = on(serde_json::json!({"b": {"IPAddress": "172.17.0.2", "Gateway": "172.17.0.1"}}));

        let mut on_host = LocalNetworks { in_container: false, ..here(&[("192.168.1.5", 24), ("172.17.0.1", 16)]) };
        assert_eq!(on_host.reach("host", &host), at("127.0.0.1"));
        on_host.in_container = true;
        on_host.learn(&others);
        assert_eq!(on_host.reach("host", &host), at("127.0.0.1"), "its address is a gateway of the engine");

        let mut bridged = here(&[("172.17.0.9", 16)]);
        bridged.default_gateway = Some("172.17.0.1".parse().unwrap());
        assert_eq!(bridged.reach("host", &host), at("172.17.0.1"), "by the default route");
        bridged.default_gateway = None;
        assert!(matches!(bridged.reach("host", &host), Reach::Nowhere(_)));
        bridged.learn(&others);
        assert_eq!(bridged.reach("host", &host), at("172.17.0.1"), "by another container's gateway");
        bridged.engine_is_local = false;
        assert!(matches!(bridged.reach("host", &host), Reach::Nowhere(_)), "another machine's host");
    }

    #[test]
    fn the_default_route_is_read_from_the_kernels_table() {
        let table =
            "Iface\tDestination\tGateway \tFlags\neth0\t000011AC\t00000000\t0001\neth0\t00000000\t010011AC\t0003\n";
        let expected = u32::from_str_radix("010011AC", 16).unwrap().to_ne_bytes();
        assert_eq!(default_gateway(table), Some(IpAddr::V4(expected.into())));
        assert_eq!(default_gateway("Iface\n"), None);
    }
}
