//! Resolves host names, with `/etc/hosts` and the name servers of `/etc/resolv.conf`.
//!
//! A static executable cannot use the C library's resolver. As there, a line that is not valid is
//! ignored, and without any name server the one of this machine is asked. A server is asked only if
//! those before it cannot answer: the first may be the only one that knows the hosts of a network.
//! No other server ever learns which hosts a user asks for.

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

/// The port of name servers.
const PORT: u16 = 53;

/// How many servers are asked. The C library ignores further ones.
const SERVERS_MAX: usize = 3;

/// The resolver of an HTTP client. It reads the files at the first look-up.
#[derive(Clone, Default)]
pub(super) struct SystemResolver(Arc<OnceLock<Tables>>);

struct Tables {
    hosts: Hosts,
    servers: Servers,
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
                _ => tables.servers.lookup(name.as_str()).await?,
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
            servers: Servers::new(ResolvConf::read())?,
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

/// The name servers, which are asked in their order.
struct Servers {
    /// One for each server: a resolver with several would ask them at once.
    resolvers: Vec<TokioResolver>,
    attempts: usize,
    search: Vec<Name>,
    dots: usize,
}

impl Servers {
    fn new(conf: ResolvConf) -> Result<Servers, NetError> {
        let resolver = |address: &SocketAddr| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let provider = TokioRuntimeProvider::default();
            let mut builder = TokioResolver::builder_with_config(config, provider);
            let options = builder.options_mut();
            options.timeout = Duration::from_secs(conf.timeout_seconds);
            // These are the retries.
            options.attempts = 0;
            options.edns0 = conf.has_edns;
            options.use_hosts_file = ResolveHosts::Never;
            // If both look-ups fail, the error is that of the first: most hosts have no IPv6
            // address, which says nothing of the server.
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            builder.build()
        };
        let servers = conf.servers.iter().take(SERVERS_MAX);
        Ok(Servers {
            resolvers: servers.map(resolver).collect::<Result<_, _>>()?,
            attempts: conf.attempts,
            search: conf.search,
            dots: conf.dots,
        })
    }

    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, NetError> {
        // Behind a SOCKS proxy, addresses are looked up too.
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let mut outcome = Err(NetError::NoConnections);
        for name in self.names(Name::from_str_relaxed(host)?) {
            outcome = self.ask(&name).await;
            // Servers that are silent for one name are not asked for the next.
            if !matches!(outcome, Err(NetError::Dns(_))) {
                break;
            }
        }
        outcome
    }

    /// Returns the names that `name` may stand for, likeliest first.
    fn names(&self, mut name: Name) -> Vec<Name> {
        let mut names = Vec::new();
        if !name.is_fqdn() {
            let in_domain = |domain| name.clone().append_domain(domain).ok();
            names.extend(self.search.iter().filter_map(in_domain));
        }
        let is_first = usize::from(name.num_labels()) > self.dots || name.is_localhost();
        name.set_fqdn(true);
        names.insert(if is_first { 0 } else { names.len() }, name);
        names
    }

    /// Asks one server after the other, until one knows that there are such addresses or none.
    async fn ask(&self, name: &Name) -> Result<Vec<IpAddr>, NetError> {
        let mut last = NetError::NoConnections;
        for resolver in (0..self.attempts).flat_map(|_| &self.resolvers) {
            match resolver.lookup_ip(name.clone()).await {
                Ok(found) => {
                    // Both kinds of addresses are tried in turn, so a machine without IPv6 is no
                    // problem.
                    let mut addresses: Vec<IpAddr> = found.iter().collect();
                    addresses.sort_by_key(IpAddr::is_ipv4);
                    return Ok(addresses);
                }
                Err(error) if error.is_no_records_found() => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The content of `/etc/resolv.conf`.
///
/// Source: resolv.conf(5).
#[derive(Debug, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<SocketAddr>,
    /// The domains of names with few dots.
    search: Vec<Name>,
    /// With as many dots, a name is looked up as it is at first.
    dots: usize,
    timeout_seconds: u64,
    attempts: usize,
    has_edns: bool,
}

impl ResolvConf {
    fn read() -> ResolvConf {
        // A file that cannot be read names no servers.
        let text = read_named(Path::new(RESOLV_CONF), RESOLV_CONF_MAX_BYTES).unwrap_or_default();
        let uname = rustix::system::uname();
        let host_name = uname.nodename().to_string_lossy();
        ResolvConf::parse(&String::from_utf8_lossy(&text), &host_name)
    }

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
            read.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
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
fn address(text: &str) -> Option<SocketAddr> {
    let address = text.split('%').next()?.parse().ok()?;
    Some(SocketAddr::new(address, PORT))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, UdpSocket};
    use std::thread;

    use super::*;

    fn conf(servers: &[&str], search: &[&str]) -> ResolvConf {
        ResolvConf {
            servers: servers.iter().filter_map(|text| address(text)).collect(),
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
            assert_eq!(servers, [(Ipv4Addr::LOCALHOST, 53).into()], "{text:?}");
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

    /// How a name server answers.
    #[derive(Clone, Copy, Debug)]
    enum Answer {
        Address([u8; 4]),
        /// The same, after a while.
        Slow([u8; 4]),
        Code(u8),
        Silence,
    }

    fn name_server(answer: Answer) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((count, client)) = socket.recv_from(&mut buffer) {
                if let Some(reply) = reply(&buffer[..count], answer) {
                    socket.send_to(&reply, client).unwrap();
                }
            }
        });
        address
    }

    /// Source: RFC 1035, section 4.
    fn reply(query: &[u8], answer: Answer) -> Option<Vec<u8>> {
        let (address, code) = match answer {
            Answer::Address(address) => (address, 0),
            Answer::Slow(address) => {
                thread::sleep(Duration::from_millis(300));
                (address, 0)
            }
            Answer::Code(code) => ([0; 4], code),
            Answer::Silence => return None,
        };
        let mut end = 12;
        while query[end] != 0 {
            end += 1 + usize::from(query[end]);
        }
        let question = &query[12..end + 5];
        let is_found = code == 0 && question[question.len() - 4..] == [0, 1, 0, 1];
        let counts = [0, 1, 0, is_found.into(), 0, 0, 0, 0];
        let mut reply = [&query[..2], &[0x81, 0x80 | code], &counts, question].concat();
        if is_found {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(address);
        }
        Some(reply)
    }

    #[test]
    fn a_name_server_is_asked_if_those_before_it_cannot_answer() {
        use Answer::{Address, Code, Silence, Slow};
        const RIGHT: [u8; 4] = [127, 0, 0, 1];
        const WRONG: [u8; 4] = [127, 0, 0, 2];
        let (servfail, nxdomain, notimp, refused) = (Code(2), Code(3), Code(4), Code(5));
        let web = TcpListener::bind((Ipv4Addr::from(RIGHT), 0)).unwrap();
        let url = format!("http://web.lab:{}/", web.local_addr().unwrap().port());
        thread::spawn(move || {
            for mut stream in web.incoming().flatten() {
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 204 None\r\nConnection: close\r\n\r\n");
            }
        });
        for (answers, is_reached) in [
            (vec![Slow(RIGHT), nxdomain], true),
            (vec![Slow(RIGHT), servfail], true),
            (vec![Slow(RIGHT), Address(WRONG)], true),
            (vec![Silence, Address(RIGHT)], true),
            (vec![servfail, Address(RIGHT)], true),
            (vec![notimp, refused, Address(RIGHT)], true),
            (vec![nxdomain, Address(RIGHT)], false),
            (vec![servfail, servfail, servfail, Address(RIGHT)], false),
        ] {
            let conf = ResolvConf {
                servers: answers.iter().copied().map(name_server).collect(),
                timeout_seconds: if matches!(answers[0], Silence) { 1 } else { 5 },
                ..conf(&[], &[])
            };
            let tables = Tables {
                hosts: Hosts::default(),
                servers: Servers::new(conf).unwrap(),
            };
            let client = reqwest::blocking::Client::builder()
                .no_proxy()
                .dns_resolver(Arc::new(SystemResolver(Arc::new(tables.into()))))
                .tls_backend_preconfigured(crate::registry::tls::config(None, false).unwrap())
                .build()
                .unwrap();
            let answer = client.get(&url).send();
            assert_eq!(answer.is_ok(), is_reached, "{answers:?}: {answer:?}");
        }
    }

    #[test]
    fn few_dots_mean_a_name_of_a_searched_domain() {
        for (dots, name, expected) in [
            (1, "web", vec!["web.a.org.", "web.b.org.", "web."]),
            (
                1,
                "web.lab",
                vec!["web.lab.", "web.lab.a.org.", "web.lab.b.org."],
            ),
            (
                2,
                "web.lab",
                vec!["web.lab.a.org.", "web.lab.b.org.", "web.lab."],
            ),
            (2, "web.", vec!["web."]),
        ] {
            let servers = Servers::new(ResolvConf {
                dots,
                ..conf(&["10.0.0.1"], &["a.org", "b.org"])
            });
            let names = servers
                .unwrap()
                .names(Name::from_str_relaxed(name).unwrap());
            let names: Vec<String> = names.iter().map(Name::to_string).collect();
            assert_eq!(names, expected, "{name}");
        }
    }
}
