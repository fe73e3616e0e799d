//! The proxies that requests go through.

use reqwest::{NoProxy, Proxy};
use url::Url;

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
    /// Hosts, domains and networks that are reached directly, separated by commas; `*` means all.
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

    /// Returns the proxies as rules of the HTTP library.
    pub(super) fn rules(&self) -> Result<Vec<Proxy>, RegistryError> {
        let except = self.except.as_deref().and_then(NoProxy::from_string);
        let rule = |proxy: &String, kind: fn(String) -> reqwest::Result<Proxy>| {
            kind(checked_address(proxy)?)
                .map(|rule| rule.no_proxy(except.clone()))
                .map_err(|_| bad_proxy(proxy, "it is not an address"))
        };
        let http = self.http.iter().map(|proxy| rule(proxy, Proxy::http));
        let https = self.https.iter().map(|proxy| rule(proxy, Proxy::https));
        http.chain(https).collect()
    }
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
            match Proxies::all(proxy).rules() {
                Err(RegistryError::Proxy { proxy: text, .. }) => assert_eq!(text, shown),
                other => panic!("{proxy}: {:?}", other.map(|_| ())),
            }
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
            assert_eq!(Proxies::all(&proxy).rules().map(|r| r.len()).unwrap(), 2);
        }
        assert!(Proxies::all("host:3128").rules().is_ok());
    }
}
