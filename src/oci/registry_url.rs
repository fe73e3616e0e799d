//! Addresses of registries.

use std::fmt;

/// Docker Hub's registry.
pub const DOCKER_HUB_REGISTRY: &str = "https://registry-1.docker.io";

/// Docker Hub's host in references.
pub const DOCKER_HUB: &str = "docker.io";

/// The names of Docker Hub in references and credential files.
pub(super) const DOCKER_HUB_HOSTS: [&str; 4] = [
    DOCKER_HUB,
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];

/// Whether this is one of Docker Hub's hosts.
pub fn is_docker_hub_host(host: &str) -> bool {
    let is_it = |name: &&str| name.eq_ignore_ascii_case(host);
    DOCKER_HUB_HOSTS.iter().any(is_it)
}

/// Why a text is not the address of a registry. It may have a password, so it is not repeated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryUrlError {
    /// The scheme is neither http nor https.
    #[error("the address of a registry begins with https:// or http://, if with any scheme")]
    Scheme,
    /// It has a user name or password.
    #[error("the address of a registry holds no login; `udocker login` keeps one")]
    Login,
    /// The host is not valid.
    #[error("'{0}' is no host of a registry")]
    Host(String),
    /// The path is not valid.
    #[error("'{0}' is no path of a registry")]
    Path(String),
}

/// The base address of a registry: scheme, host, port, and the path below which it lies, if it
/// shares its host with other services.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryUrl(String);

impl RegistryUrl {
    /// Parses `https://host:port`, `http://host/path` or `host`, which means https. `/v1` or `/v2`
    /// at the end is dropped, since every registry has it.
    ///
    /// # Errors
    /// `RegistryUrlError`, naming the part that is wrong.
    pub fn parse(text: &str) -> Result<RegistryUrl, RegistryUrlError> {
        let (scheme, rest) = split_scheme(text).ok_or(RegistryUrlError::Scheme)?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('@') {
            return Err(RegistryUrlError::Login);
        }
        if !is_host(host) {
            return Err(RegistryUrlError::Host(host.to_string()));
        }
        let mut path = format!("/{}", path.trim_end_matches('/'));
        if path.ends_with("/v1") || path.ends_with("/v2") {
            path.truncate(path.len() - "/v2".len());
        }
        let path = path.trim_end_matches('/');
        let is_valid = path.split('/').skip(1).all(is_path_segment);
        if !is_valid || (is_docker_hub_host(host) && !path.is_empty()) {
            return Err(RegistryUrlError::Path(path.to_string()));
        }
        let RegistryUrl(base) = RegistryUrl::new(scheme.unwrap_or("https"), host);
        Ok(RegistryUrl(base + path))
    }

    /// Docker Hub.
    pub fn docker_hub() -> RegistryUrl {
        RegistryUrl(DOCKER_HUB_REGISTRY.to_string())
    }

    /// Builds the address from parts that have been checked.
    pub(super) fn new(scheme: &str, host: &str) -> RegistryUrl {
        if is_docker_hub_host(host) {
            return RegistryUrl::docker_hub();
        }
        RegistryUrl(format!("{scheme}://{}", host.to_ascii_lowercase()))
    }

    /// `https://host:port/path`, the key of the credential store.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `host:port`.
    pub fn host(&self) -> &str {
        self.split().0
    }

    /// The path below which the registry lies, without slashes at its ends; mostly empty.
    pub fn path(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        let place = self
            .0
            .split_once("://")
            .map_or(&*self.0, |(_, place)| place);
        place.split_once('/').unwrap_or((place, ""))
    }

    /// The name of a repository at this registry, as users type it. No name of an image contains
    /// the path of a registry, so an option has to.
    pub fn repository_text(&self, repository: &str) -> String {
        match self.0.strip_prefix("https://") {
            _ if self.is_docker_hub() => repository.to_string(),
            _ if !self.path().is_empty() => format!("--registry={self} {repository}"),
            Some(host) => format!("{host}/{repository}"),
            None => format!("{self}/{repository}"),
        }
    }

    /// Whether this is Docker Hub, by any of its hosts.
    pub fn is_docker_hub(&self) -> bool {
        is_docker_hub_host(self.host())
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits off `http://` or `https://`; `None` if it is another scheme.
pub(super) fn split_scheme(text: &str) -> Option<(Option<&str>, &str)> {
    match text.split_once("://") {
        None => Some((None, text)),
        Some((scheme @ ("http" | "https"), rest)) => Some((Some(scheme), rest)),
        Some(_) => None,
    }
}

/// Whether the text is a part of a path that needs no escapes and names no other directory.
fn is_path_segment(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    !matches!(text, "" | "." | "..") && text.bytes().all(is_plain)
}

/// Whether the text is a DNS name, an IPv4 address or an IPv6 address in brackets, with an optional
/// port.
pub(super) fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => ("v6", Some(port)),
                None if port.is_empty() => return true,
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|p| p > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_as_users_type_them() {
        for (registry, expected) in [
            ("docker.io", "lab/tool"),
            ("quay.io", "quay.io/lab/tool"),
            ("http://h:5000", "http://h:5000/lab/tool"),
            ("h/hub", "--registry=https://h/hub lab/tool"),
        ] {
            let registry = RegistryUrl::parse(registry).unwrap();
            assert_eq!(registry.repository_text("lab/tool"), expected);
        }
    }

    #[test]
    fn urls_are_reduced_to_scheme_host_and_path() {
        for (text, url) in [
            ("quay.io", "https://quay.io"),
            ("http://LocalHost:5000/v2/", "http://localhost:5000"),
            ("https://index.docker.io/v1/", DOCKER_HUB_REGISTRY),
            ("Docker.IO", DOCKER_HUB_REGISTRY),
            ("registry.hub.docker.com", DOCKER_HUB_REGISTRY),
            ("[::1]:5000", "https://[::1]:5000"),
            ("https://Mirror.org/Hub/", "https://mirror.org/Hub"),
            ("http://h:1/art/docker/v2/", "http://h:1/art/docker"),
            ("mirror.org/v2/hub", "https://mirror.org/v2/hub"),
        ] {
            assert_eq!(RegistryUrl::parse(text).unwrap().as_str(), url, "{text}");
        }
        let host = |host: &str| RegistryUrlError::Host(host.to_string());
        let path = |path: &str| RegistryUrlError::Path(path.to_string());
        for (text, error) in [
            ("", host("")),
            ("ftp://x", RegistryUrlError::Scheme),
            ("http://", host("")),
            ("host:0", host("host:0")),
            ("[::1", host("[::1")),
            ("a..b", host("a..b")),
            ("-a", host("-a")),
            ("https://mirror.org/a//b", path("/a//b")),
            ("mirror.org/a/../b", path("/a/../b")),
            ("mirror.org/hub?x", path("/hub?x")),
            ("docker.io/hub", path("/hub")),
            ("https://me:secret@h", RegistryUrlError::Login),
            ("me:secret@h:5000/v2", RegistryUrlError::Login),
        ] {
            assert_eq!(RegistryUrl::parse(text), Err(error), "{text}");
        }
        let registry = RegistryUrl::parse("h:1/art/docker/").unwrap();
        assert_eq!((registry.host(), registry.path()), ("h:1", "art/docker"));
    }
}
