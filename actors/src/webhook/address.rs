//! Which addresses a webhook may go to: public ones, and those that a site opens.
//!
//! Who may submit may name any URL. Without these rules a submission could make us call what only we can reach: the
//! machine itself, the network around it, the credentials a cloud hands to its machines.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::LazyLock;

use ipnet::IpNet;

/// What is never called unless it is allowed: networks by the registries of special-purpose addresses (RFC 6890 and
/// its followers), and what else is known to answer to the machine alone.
const FORBIDDEN: &[(&str, &str)] = &[
    ("0.0.0.0/8", "an unspecified address"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "an address behind a carrier's NAT"),
    ("127.0.0.0/8", "a loopback address"),
    ("168.63.129.16/32", "a cloud's metadata address"),
    ("169.254.0.0/16", "a link-local address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "a reserved address"),
    ("192.0.2.0/24", "an address for documentation"),
    ("192.88.99.0/24", "a 6to4 relay"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "an address for benchmarks"),
    ("198.51.100.0/24", "an address for documentation"),
    ("203.0.113.0/24", "an address for documentation"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),
    ("::/128", "an unspecified address"),
    ("::1/128", "a loopback address"),
    ("::ffff:0:0/96", "an IPv4 address in IPv6"),
    ("64:ff9b::/96", "an IPv4 address behind NAT64"),
    ("64:ff9b:1::/48", "an IPv4 address behind NAT64"),
    ("2001::/23", "a reserved address"),
    ("2001:db8::/32", "an address for documentation"),
    ("2002::/16", "an IPv4 address behind 6to4"),
    ("3fff::/20", "an address for documentation"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("ff00::/8", "a multicast address"),
];

/// All that is given out in IPv6; the rest of it leads nowhere, or somewhere close by.
const GLOBAL_IPV6: &str = "2000::/3";

static NETWORKS: LazyLock<Vec<(IpNet, &'static str)>> = LazyLock::new(|| {
    let network = |text: &str| text.parse().expect("the networks above are well formed");
    FORBIDDEN.iter().map(|(text, what)| (network(text), *what)).collect()
});

/// Why an address is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is {what}, which webhooks are not sent to; webhooks.allow can open it", called(.name, .address))]
pub struct Forbidden {
    /// The name that led to the address, if it was one.
    name: Option<String>,
    address: IpAddr,
    what: &'static str,
}

fn called(name: &Option<String>, address: &IpAddr) -> String {
    match name {
        Some(name) => format!("{name} is at {address}, and that"),
        None => address.to_string(),
    }
}

/// What a site opens, beside all public addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allowed(Vec<Allowance>);

/// A network or a name, on every port or on one.
#[derive(Clone, Debug, PartialEq)]
struct Allowance {
    place: Place,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq)]
enum Place {
    Network(IpNet),
    /// Wherever it leads. In lower case.
    Name(String),
}

/// Text that allows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no address, network or name; write one such as \"10.0.0.0/8\", \"hooks.example.com\" or \
     \"127.0.0.1:9000\""
)]
pub struct BadAllowance(pub String);

impl Allowed {
    /// Reads what is allowed: addresses, networks and names of hosts, each with a port or without.
    ///
    /// # Errors
    /// The first text that is none of these.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, BadAllowance> {
        texts.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an address may be called on a port; `name` is the one that led to it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, address: IpAddr, port: u16, name: Option<&str>) -> Result<(), Forbidden> {
        let Some(what) = forbidden(address) else { return Ok(()) };
        // An address in another's clothes is allowed where that other one is.
        let plain = address.to_canonical();
        let opened = self.0.iter().any(|allowance| {
            allowance.port.is_none_or(|only| only == port)
                && match &allowance.place {
                    Place::Network(network) => network.contains(&plain),
                    Place::Name(allowed) => name.is_some_and(|name| name.eq_ignore_ascii_case(allowed)),
                }
        });
        if opened { Ok(()) } else { Err(Forbidden { name: name.map(str::to_owned), address, what }) }
    }
}

impl FromStr for Allowance {
    type Err = BadAllowance;

    fn from_str(text: &str) -> Result<Self, BadAllowance> {
        let bad = || BadAllowance(text.to_owned());
        if let Some(network) = network(text) {
            return Ok(Self { place: Place::Network(network), port: None });
        }
        let (place, port) = match text.rsplit_once(':') {
            Some((place, port)) => (place, Some(port.parse().map_err(|_| bad())?)),
            None => (text, None),
        };
        let bare = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
        if let Some(network) = network(bare) {
            return Ok(Self { place: Place::Network(network), port });
        }
        let is_name = |part: &str| {
            let letters = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            !part.is_empty() && letters
        };
        // What ends in digits would be read as an address, were it a URL's.
        let ends_in_a_number =
            place.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if !place.split('.').all(is_name) || ends_in_a_number {
            return Err(bad());
        }
        Ok(Self { place: Place::Name(place.to_ascii_lowercase()), port })
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// What an address is that is not public.
fn forbidden(address: IpAddr) -> Option<&'static str> {
    let known = NETWORKS.iter().find(|(network, _)| network.contains(&address)).map(|(_, what)| *what);
    known.or_else(|| match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => (!is_global(address)).then_some("a reserved address"),
    })
}

fn is_global(address: Ipv6Addr) -> bool {
    let global: IpNet = GLOBAL_IPV6.parse().expect("it is well formed");
    global.contains(&IpAddr::V6(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_public_is_forbidden_up_to_its_edges() {
        let edges = [
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.255.255",
            "198.19.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "168.63.129.16",
            "100.100.100.200",
            "192.0.0.192",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::",
            "fdff::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "::127.0.0.1",
            "100::1",
            "5f00::1",
            "fec0::1",
        ];
        for text in edges {
            assert!(forbidden(address(text)).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_public_is_not() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "2001:4860:4860::8888",
        ];
        for text in public {
            assert_eq!(forbidden(address(text)), None, "{text}");
        }
    }

    #[test]
    fn a_site_opens_networks_addresses_and_names_with_a_port_or_on_all() {
        let texts = ["10.0.0.0/8", "127.0.0.1:9000", "[::1]:9000", "Hooks.example.com", "inside:81", "fd00::/8"];
        let allowed = Allowed::read(texts).unwrap();
        let may = |text: &str, port, name| allowed.check(address(text), port, name).is_ok();
        assert!(may("10.1.2.3", 80, None) && may("fd12::1", 443, None));
        assert!(may("127.0.0.1", 9000, None) && !may("127.0.0.1", 9001, None));
        assert!(may("127.0.0.1", 9000, Some("localhost")) && !may("127.0.0.1", 80, Some("localhost")));
        assert!(may("::1", 9000, None) && !may("::1", 80, None));
        assert!(may("::ffff:127.0.0.1", 9000, None), "an allowed address in another's clothes");
        assert!(may("192.168.1.1", 80, Some("hooks.EXAMPLE.com")) && !may("192.168.1.1", 80, Some("example.com")));
        assert!(may("192.168.1.1", 81, Some("inside")) && !may("192.168.1.1", 80, Some("inside")));
        assert!(!may("169.254.169.254", 80, None));
    }

    #[test]
    fn a_refusal_names_the_address_and_the_way_out() {
        let refused = Allowed::default().check(address("127.0.0.1"), 80, Some("localhost")).unwrap_err();
        let expected = "localhost is at 127.0.0.1, and that is a loopback address, which webhooks are not sent to; \
                        webhooks.allow can open it";
        assert_eq!(refused.to_string(), expected);
    }

    #[test]
    fn what_allows_nothing_is_refused() {
        for text in ["", "http://a", "a b", "10.0.0.0/33", "10.0.0", "a:port", "a:70000", "*", "a..b", "127.1", "[::1"]
        {
            assert!(Allowed::read([text]).is_err(), "{text}");
        }
    }
}
