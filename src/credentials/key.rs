//! The keys of registries in credential files.
//!
//! Examples are `https://index.docker.io/v1/`, `quay.io`, `host:5000/namespace/name` and
//! `http://host/v2/`. Docker Hub has several names.

use crate::oci::{DOCKER_HUB, RegistryUrl, is_docker_hub_host};

/// Paths that old clients add to the host, without a meaning.
const API_PATHS: [&str; 2] = ["v1", "v2"];

/// A key in normalised form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Whether the key begins with `https://`, so that its login must not be sent over plain http.
    is_protected: bool,
    /// `host[:port][/path]`
    place: String,
}

impl Key {
    /// Parses a key of a credential file.
    pub(super) fn parse(text: &str) -> Key {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let place = rest.trim_end_matches('/');
        let (host, path) = match place.split_once('/') {
            Some((host, path)) => (host, Some(path).filter(|path| !API_PATHS.contains(path))),
            None => (place, None),
        };
        let host = if is_docker_hub_host(host) {
            DOCKER_HUB.to_string()
        } else {
            host.to_ascii_lowercase()
        };
        Key {
            is_protected: scheme == Some("https"),
            place: match path {
                Some(path) => format!("{host}/{path}"),
                None => host,
            },
        }
    }

    /// Whether the login under this key is for `place` and may be sent to `registry`.
    pub(super) fn covers(&self, place: &str, registry: &RegistryUrl) -> bool {
        let is_safe = !self.is_protected || registry.as_str().starts_with("https://");
        is_safe && self.place == place
    }
}

/// Returns the place that stands for the registry's whole host.
pub(super) fn host_place(registry: &RegistryUrl) -> String {
    Key::parse(registry.host()).place
}

/// Returns the place that stands for the registry alone, without others on its host.
pub(super) fn own_place(registry: &RegistryUrl) -> String {
    Key::parse(registry.as_str()).place
}

/// Returns the places that may hold a login for `repository`, the most specific first, without the
/// whole host. If the registry lies below a path, that path begins the repository's name here.
///
/// Source: containers-auth.json(5).
pub(super) fn repository_places(registry: &RegistryUrl, repository: &str) -> Vec<String> {
    let host = host_place(registry);
    let mut places = Vec::new();
    let path = format!("{}/{repository}", registry.path());
    let mut path = path.trim_matches('/');
    while !path.is_empty() {
        places.push(format!("{host}/{path}"));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    places
}

/// Returns the server name that a helper is asked for.
pub(super) fn helper_server(registry: &RegistryUrl) -> &str {
    if registry.is_docker_hub() {
        "https://index.docker.io/v1/"
    } else {
        registry.host()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_keys_are_normalised() {
        for (text, place) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("registry-1.docker.io", "docker.io"),
            ("https://registry-1.docker.io", "docker.io"),
            ("docker.io/library/busybox", "docker.io/library/busybox"),
            ("https://Quay.io/v2/", "quay.io"),
            ("http://localhost:5000", "localhost:5000"),
            ("host/v1x", "host/v1x"),
            ("quay.io/lab/v2/", "quay.io/lab/v2"),
            ("Registry.Hub.Docker.com/v1", "docker.io"),
        ] {
            assert_eq!(Key::parse(text).place, place, "{text}");
        }
    }

    #[test]
    fn https_login_is_not_sent_over_http() {
        let plain = RegistryUrl::parse("http://h:5000").unwrap();
        let protected = RegistryUrl::parse("https://h:5000").unwrap();
        for (key, on_plain, on_protected) in [
            ("https://h:5000", false, true),
            ("http://h:5000", true, true),
            ("h:5000", true, true),
            ("h", false, false),
        ] {
            let key = Key::parse(key);
            assert_eq!(key.covers("h:5000", &plain), on_plain, "{key:?}");
            assert_eq!(key.covers("h:5000", &protected), on_protected, "{key:?}");
        }
    }

    #[test]
    fn lookup_keys_are_most_specific_first() {
        let registry = RegistryUrl::parse("index.docker.io").unwrap();
        assert_eq!(
            repository_places(&registry, "a/b/c"),
            ["docker.io/a/b/c", "docker.io/a/b", "docker.io/a"]
        );
        assert!(repository_places(&registry, "").is_empty());
        let registry = RegistryUrl::parse("h:1/art/docker").unwrap();
        let whole = ["h:1/art/docker", "h:1/art"];
        assert_eq!(repository_places(&registry, ""), whole);
        let specific = repository_places(&registry, "a/b");
        assert_eq!(specific[..2], ["h:1/art/docker/a/b", "h:1/art/docker/a"]);
        assert_eq!(specific[2..], whole);
    }
}
