//! Resolves host names, with `/etc/hosts` and the name servers of `/etc/resolv.conf`.
//!
//! A static executable cannot use the C library's resolver. As there, a line that is not valid is
//! ignored, and without any name server the one of this machine is asked. No other server ever
//! learns which hosts a user asks for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use reqwest::dns::{Addrs, Resolve, Resolving};

use crate::host::fs::read_named;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Most bytes of `/etc/resolv.conf`.
const RESOLV_CONF_MAX_BYTES: u64 = 1 << 20;

/// The resolver of an HTTP client. It reads the files at the first look-up.
#[derive(Clone, Default)]
pub(super) struct SystemResolver(Arc<OnceLock<Tables>>);

struct Tables {
    hosts: Hosts,
    servers: TokioResolver,
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let tables = match resolver.0.get() {
                Some(tables) => tables,
                None => {
                    let read = Tables::read()?;
                    resolver.0.get_or_init(|| read)
                }
            };
            let found = match tables.listed(name.as_str()) {
                listed if !listed.is_empty() => listed,
                _ => tables
                    .servers
                    .lookup_ip(name.as_str())
                    .await?
                    .iter()
                    .collect(),
            };
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

impl Tables {
    fn read() -> Result<Tables, NetError> {
        Ok(Tables {
            hosts: Hosts::from_system().unwrap_or_default(),
            servers: make_resolver()?,
        })
    }

    /// Returns the addresses of a host in `/etc/hosts`. No server is asked for further ones: a
    /// machine without any must find the hosts that are listed.
    fn listed(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_str_relaxed(host) else {
            return Vec::new();
        };
        let of_kind = |kind| {
            self.hosts
                .lookup_static_host(&Query::query(name.clone(), kind))
        };
        let kinds = [RecordType::AAAA, RecordType::A];
        let found = kinds.into_iter().filter_map(of_kind);
        let addresses = |found: Lookup| -> Vec<IpAddr> {
            let records = found.answers().iter();
            records.filter_map(|record| record.data.ip_addr()).collect()
        };
        found.flat_map(addresses).collect()
    }
}

fn make_resolver() -> Result<TokioResolver, NetError> {
    // A file that cannot be read names no servers.
    let text = read_named(Path::new(RESOLV_CONF), RESOLV_CONF_MAX_BYTES).unwrap_or_default();
    let host_name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let read = ResolvConf::parse(&String::from_utf8_lossy(&text), &host_name);
    let servers = read.servers.into_iter().map(NameServerConfig::udp_and_tcp);
    let config = ResolverConfig::from_parts(None, read.search, servers.collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options = builder.options_mut();
    options.ndots = read.dots;
    options.timeout = Duration::from_secs(read.timeout_seconds);
    options.attempts = read.attempts;
    options.edns0 = read.has_edns;
    options.use_hosts_file = ResolveHosts::Never;
    // Both kinds of addresses are tried in turn, so a machine without IPv6 is no problem.
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    builder.build()
}

/// The content of `/etc/resolv.conf`.
///
/// Source: resolv.conf(5).
#[derive(Debug, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<IpAddr>,
    /// The domains of names with few dots.
    search: Vec<Name>,
    /// With as many dots, a name is looked up as it is at first.
    dots: usize,
    timeout_seconds: u64,
    attempts: usize,
    has_edns: bool,
}

impl ResolvConf {
    /// Reads a file. Without any other domain, that of this machine's name is the one to search.
    fn parse(text: &str, host_name: &str) -> ResolvConf {
        let domains = |names: &mut dyn Iterator<Item = &str>| -> Vec<Name> {
            names
                .filter_map(|name| Name::from_str_relaxed(name).ok())
                .collect()
        };
        let mut read = ResolvConf {
            servers: Vec::new(),
            search: domains(
                &mut host_name
                    .split_once('.')
                    .map(|(_, domain)| domain)
                    .into_iter(),
            ),
            dots: 1,
            timeout_seconds: 5,
            attempts: 2,
            has_edns: false,
        };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => read.servers.extend(words.next().and_then(address)),
                Some("search") => read.search = domains(&mut words),
                Some("domain") => read.search = domains(&mut words.take(1)),
                Some("options") => words.for_each(|option| read.set(option)),
                _ => {}
            }
        }
        if read.servers.is_empty() {
            read.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        read
    }

    fn set(&mut self, option: &str) {
        let (name, value) = option.split_once(':').unwrap_or((option, ""));
        match (name, value.parse::<u8>()) {
            ("ndots", Ok(dots)) => self.dots = dots.min(15).into(),
            ("timeout", Ok(seconds)) => self.timeout_seconds = seconds.clamp(1, 30).into(),
            ("attempts", Ok(attempts)) => self.attempts = attempts.clamp(1, 5).into(),
            ("edns0", _) => self.has_edns = true,
            _ => {}
        }
    }
}

/// Reads an address. The network interface after that of a neighbour is left out.
fn address(text: &str) -> Option<IpAddr> {
    text.split('%').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(servers: &[&str], search: &[&str]) -> ResolvConf {
        ResolvConf {
            servers: servers.iter().map(|text| text.parse().unwrap()).collect(),
            search: search
                .iter()
                .map(|text| Name::from_str_relaxed(text).unwrap())
                .collect(),
            dots: 1,
            timeout_seconds: 5,
            attempts: 2,
            has_edns: false,
        }
    }

    #[test]
    fn without_a_name_server_that_of_this_machine_is_asked() {
        for text in [
            "",
            "# nothing\n",
            "nameserver\nnameserver nonsense\n",
            "search a.org\n",
        ] {
            let servers = ResolvConf::parse(text, "host").servers;
            assert_eq!(servers, [Ipv4Addr::LOCALHOST], "{text:?}");
        }
    }

    #[test]
    fn what_is_not_valid_is_ignored() {
        let label = "x".repeat(64);
        let text = format!(
            "; comment\n#nameserver 1.1.1.1\nnameserver 10.0.0.1 # first\n nameserver fe80::1%eth0\n\
             search {label}.org lab.org -- a_b.org\nsortlist 1.2.3.4\nnameserver 10.0.0.300\n"
        );
        let expected = conf(&["10.0.0.1", "fe80::1"], &["lab.org", "a_b.org"]);
        assert_eq!(ResolvConf::parse(&text, "host.own.org"), expected);
    }

    #[test]
    fn the_last_domains_are_searched_and_options_add_up() {
        let server = "nameserver 10.0.0.1\n";
        for (text, search) in [
            ("", vec!["own.org"]),
            ("search a.org b.org\ndomain c.org d.org\n", vec!["c.org"]),
            ("domain c.org\nsearch a.org b.org\n", vec!["a.org", "b.org"]),
        ] {
            let read = ResolvConf::parse(&format!("{server}{text}"), "host.own.org");
            assert_eq!(read, conf(&["10.0.0.1"], &search), "{text}");
        }
        let text = "options ndots:2 timeout:0 rotate\noptions attempts:99 edns0 timeout:x\n";
        let expected = ResolvConf {
            dots: 2,
            timeout_seconds: 1,
            attempts: 5,
            has_edns: true,
            ..conf(&["127.0.0.1"], &[])
        };
        assert_eq!(ResolvConf::parse(text, "host"), expected);
    }
}
