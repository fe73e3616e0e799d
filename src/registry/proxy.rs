//! The proxies that requests go through.

use std::net::IpAddr;

use reqwest::Proxy;
use url::{Host, Url};

use super::RegistryError;

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxies to use. They apply to loopback addresses too.
///
/// Each is `[SCHEME://][USER:PASSWORD@]HOST[:PORT]`, where SCHEME is `http` (the default),
/// `https`, `socks4`, `socks4a`, `socks5` or `socks5h`. With `socks4a` and `socks5h`, the proxy
/// resolves host names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for `http://` addresses.
    pub http: Option<String>,
    /// The proxy for `https://` addresses.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, separated by commas, each with a port
    /// or without; `*` means all.
    pub except: Option<String>,
}

impl Proxies {
    /// Returns one proxy for everything.
    pub fn all(proxy: &str) -> Proxies {
        Proxies {
            http: Some(proxy.to_string()),
            https: Some(proxy.to_string()),
            except: None,
        }
    }

    /// Returns one proxy for everything, with the same exceptions.
    #[must_use]
    pub fn replaced_by(self, proxy: &str) -> Proxies {
        Proxies {
            except: self.except,
            ..Proxies::all(proxy)
        }
    }

    /// Reads the usual variables: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower
    /// or upper case.
    ///
    /// Upper-case `HTTP_PROXY` is ignored if `REQUEST_METHOD` is set: in a CGI program, it is a
    /// header of the request, and its sender may be an attacker.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Proxies {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let either = |lower: &str| get(lower).or_else(|| get(&lower.to_ascii_uppercase()));
        let http = get("http_proxy")
            .or_else(|| get("HTTP_PROXY").filter(|_| get("REQUEST_METHOD").is_none()));
        Proxies {
            http: http.or_else(|| either("all_proxy")),
            https: either("https_proxy").or_else(|| either("all_proxy")),
            except: either("no_proxy"),
        }
    }

    /// Returns the addresses of the proxies, without invalid ones.
    pub(super) fn addresses(&self) -> impl Iterator<Item = Url> {
        let proxies = self.http.iter().chain(&self.https);
        proxies.filter_map(|proxy| Url::parse(&with_scheme(proxy)).ok())
    }

    /// Returns the proxy for an address; `None` if the address is reached directly.
    pub(super) fn for_url(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme() {
            "https" => &self.https,
            _ => &self.http,
        };
        proxy.as_deref().filter(|_| !self.excepts(url))
    }

    fn excepts(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        let port = url.port_or_known_default();
        let except = self.except.as_deref().unwrap_or_default();
        let mut entries = except.split([',', ' ']).filter(|entry| !entry.is_empty());
        entries.any(|entry| covers(entry, &host, port))
    }

    /// Returns the proxies as a rule of the HTTP library.
    pub(super) fn rule(&self) -> Result<Proxy, RegistryError> {
        for proxy in self.http.iter().chain(&self.https) {
            Proxy::all(checked_address(proxy)?)
                .map_err(|_| bad_proxy(proxy, "it is not an address"))?;
        }
        let proxies = self.clone();
        Ok(Proxy::custom(move |url| {
            proxies.for_url(url).map(with_scheme)
        }))
    }
}

/// Whether an entry of `no_proxy` covers a host. An entry is `*`, a domain, which covers those
/// below it, an address, or a network as `ADDRESS/BITS`; a port may follow. Docker and Podman take
/// `.DOMAIN` and `*.DOMAIN` for a domain too.
fn covers(entry: &str, host: &Host<&str>, port: Option<u16>) -> bool {
    let (place, wanted) = split_port(entry);
    if wanted.is_some() && wanted != port {
        return false;
    }
    match host {
        _ if place == "*" => true,
        Host::Domain(host) => {
            let domain = place.trim_start_matches('*').trim_start_matches('.');
            let below = host.strip_suffix(&domain.to_ascii_lowercase());
            !domain.is_empty() && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
        Host::Ipv4(address) => is_in(place, (*address).into()),
        Host::Ipv6(address) => is_in(place, (*address).into()),
    }
}

/// Splits off the port. Without brackets, an IPv6 address has none.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let split = match entry.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .map(|(place, rest)| (place, rest.trim_matches(':'))),
        None => entry
            .split_once(':')
            .filter(|(_, port)| !port.contains(':')),
    };
    match split {
        Some((place, "")) => (place, None),
        Some((place, port)) => match port.parse() {
            Ok(port) => (place, Some(port)),
            Err(_) => (entry, None),
        },
        None => (entry, None),
    }
}

/// Whether an address is `network`, or in it.
fn is_in(network: &str, address: IpAddr) -> bool {
    let (base, bits) = network.split_once('/').unwrap_or((network, "128"));
    let (Ok(base), Ok(bits)) = (base.parse(), bits.parse::<u32>()) else {
        return false;
    };
    let (difference, width) = match (base, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits() ^ other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits(), 128),
        _ => return false,
    };
    let ignored = width - bits.min(width);
    difference.checked_shr(ignored).unwrap_or(0) == 0
}

fn with_scheme(proxy: &str) -> String {
    match proxy.contains("://") {
        true => proxy.to_string(),
        false => format!("http://{proxy}"),
    }
}

fn checked_address(proxy: &str) -> Result<String, RegistryError> {
    let address = with_scheme(proxy);
    let url = Url::parse(&address).map_err(|_| bad_proxy(proxy, "it is not an address"))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(bad_proxy(
            proxy,
            "its scheme is none of http, https, socks4, socks4a, socks5, socks5h",
        ));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad_proxy(proxy, "it names no host"));
    }
    Ok(address)
}

/// Returns an address for messages: without user name and password, and without a query, which may
/// hold a token.
pub fn without_login(address: &str) -> String {
    let (front, query) = match address.split_once('?') {
        // A password with a question mark is not taken for a query.
        Some((front, query)) if !query.contains('@') => (front, "?…"),
        _ => (address, ""),
    };
    match front.rsplit_once('@') {
        Some((front, host)) => match front.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://…@{host}{query}"),
            None => format!("…@{host}{query}"),
        },
        None => format!("{front}{query}"),
    }
}

fn bad_proxy(proxy: &str, reason: &'static str) -> RegistryError {
    RegistryError::Proxy {
        proxy: without_login(proxy),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_string())
        })
    }

    fn proxies(http: Option<&str>, https: Option<&str>, except: Option<&str>) -> Proxies {
        Proxies {
            http: http.map(str::to_string),
            https: https.map(str::to_string),
            except: except.map(str::to_string),
        }
    }

    #[test]
    fn variables_are_read_in_the_usual_order() {
        for (variables, expected) in [
            (vec![], Proxies::default()),
            (
                vec![("http_proxy", "a"), ("HTTP_PROXY", "b")],
                proxies(Some("a"), None, None),
            ),
            (
                vec![("HTTPS_PROXY", "b"), ("NO_PROXY", "x,y")],
                proxies(None, Some("b"), Some("x,y")),
            ),
            (
                vec![("ALL_PROXY", "c"), ("https_proxy", "d"), ("http_proxy", "")],
                proxies(Some("c"), Some("d"), None),
            ),
            (
                vec![("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")],
                Proxies::default(),
            ),
        ] {
            assert!(from(&variables) == expected, "{variables:?}");
        }
    }

    #[test]
    fn invalid_proxies_are_refused_without_their_password() {
        for (proxy, shown) in [
            ("ftp://me:secret@host", "ftp://…@host"),
            ("socks6://host:1", "socks6://host:1"),
            ("http://", "http://"),
            ("http://me:sec@ret@host:99999", "http://…@host:99999"),
            ("me:secret@host:99999", "…@host:99999"),
        ] {
            match Proxies::all(proxy).rule() {
                Err(RegistryError::Proxy { proxy: text, .. }) => assert_eq!(text, shown),
                other => panic!("{proxy}: {:?}", other.map(|_| ())),
            }
        }
    }

    #[test]
    fn exceptions_are_those_of_docker_and_podman() {
        for (except, url, is_direct) in [
            ("reg.lab.org", "https://reg.lab.org/", true),
            ("reg.lab.org", "https://a.reg.lab.org/", true),
            ("reg.lab.org", "https://areg.lab.org/", false),
            (".Lab.org", "https://reg.lab.org/", true),
            ("*.lab.org", "https://reg.lab.org/", true),
            ("*.lab.org", "https://reg.lab.com/", false),
            ("x, reg.lab.org:5000", "http://reg.lab.org:5000/", true),
            ("reg.lab.org:5000", "http://reg.lab.org/", false),
            ("reg.lab.org:443", "https://reg.lab.org/", true),
            ("10.1.2.3", "http://10.1.2.3:5000/", true),
            ("10.1.2.3:5000", "http://10.1.2.3:5000/", true),
            ("10.1.2.3:5000", "http://10.1.2.3:5001/", false),
            ("10.1.0.0/16", "http://10.1.2.3/", true),
            ("10.2.0.0/16", "http://10.1.2.3/", false),
            ("0.0.0.0/0", "http://10.1.2.3/", true),
            ("10.1.2.0/33", "http://10.1.2.3/", false),
            ("::1,fd00::/8", "http://[fd12::1]:5000/", true),
            ("::/0", "http://[fd12::1]/", true),
            ("[::1]:5000", "http://[::1]:5000/", true),
            ("[::1]", "http://[::1]:5001/", true),
            ("::1", "http://[::2]/", false),
            ("*", "https://h/", true),
            (" , ., *., :, []", "https://h/", false),
        ] {
            let proxies = Proxies {
                except: Some(except.to_string()),
                ..Proxies::all("proxy:1")
            };
            let found = proxies.for_url(&Url::parse(url).unwrap());
            assert_eq!(found.is_none(), is_direct, "{except} {url}");
        }
    }

    #[test]
    fn addresses_are_shown_without_login_and_query() {
        for (address, shown) in [
            ("https://me:pw@h/x?token=secret", "https://…@h/x?…"),
            ("ftp://h/x?token=secret", "ftp://h/x?…"),
            ("http://me:p?w@h/", "http://…@h/"),
            ("http://h/", "http://h/"),
        ] {
            assert_eq!(without_login(address), shown, "{address}");
        }
    }

    #[test]
    fn every_kind_of_proxy_is_accepted() {
        for scheme in SCHEMES {
            let proxy = format!("{scheme}://me:secret@host:1080");
            assert!(Proxies::all(&proxy).rule().is_ok(), "{proxy}");
        }
        assert!(Proxies::all("host:3128").rule().is_ok());
    }
}
