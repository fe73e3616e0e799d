//! Where a redirect leads, and whether credentials follow it.
//!
//! Registries redirect downloads to content stores of other owners. A login or token must not be
//! sent there, and most stores would refuse the request because of it.

use url::Url;

/// What to do with a `Location`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// Follow the redirect.
    Follow {
        /// The next address.
        target: Url,
        /// Whether the address belongs to the same server, so that credentials may be sent.
        carries_credentials: bool,
    },
    /// Refuse the redirect, for this reason.
    Refuse(&'static str),
}

/// Decides about a redirect from `from` to `location`, which may be relative.
pub(super) fn decide(from: &Url, location: &str, insecure: bool) -> Redirect {
    let Ok(target) = from.join(location) else {
        return Redirect::Refuse("the address is not valid");
    };
    if !matches!(target.scheme(), "http" | "https") || target.host_str().is_none() {
        return Redirect::Refuse("it leads away from http");
    }
    if from.scheme() == "https" && target.scheme() == "http" && !insecure {
        return Redirect::Refuse("it leads from https to unprotected http");
    }
    let carries_credentials = is_same_server(from, &target);
    Redirect::Follow {
        target,
        carries_credentials,
    }
}

/// Whether two addresses belong to the same server: same scheme, host and port. A change from http
/// to https on the default ports counts as the same server.
pub(super) fn is_same_server(one: &Url, other: &Url) -> bool {
    let ports = (one.port_or_known_default(), other.port_or_known_default());
    let is_upgrade =
        one.scheme() == "http" && other.scheme() == "https" && ports == (Some(80), Some(443));
    one.host_str() == other.host_str()
        && (is_upgrade || (one.scheme() == other.scheme() && ports.0 == ports.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_with_their_server() {
        let follow = |target: &str, carries_credentials| Redirect::Follow {
            target: Url::parse(target).unwrap(),
            carries_credentials,
        };
        let away = Redirect::Refuse("it leads away from http");
        let down = Redirect::Refuse("it leads from https to unprotected http");
        for (from, location, insecure, expected) in [
            ("https://r/v2/a", "/x", false, follow("https://r/x", true)),
            (
                "https://r/v2/a",
                "b?c=d",
                false,
                follow("https://r/v2/b?c=d", true),
            ),
            (
                "https://r/a",
                "//cdn/x",
                false,
                follow("https://cdn/x", false),
            ),
            (
                "https://r/a",
                "https://r:443/x",
                false,
                follow("https://r/x", true),
            ),
            (
                "https://r/a",
                "https://r:444/x",
                false,
                follow("https://r:444/x", false),
            ),
            (
                "https://r/a",
                "https://r.evil/x",
                false,
                follow("https://r.evil/x", false),
            ),
            ("https://r/a", "http://r/x", false, down),
            (
                "https://r/a",
                "http://r/x",
                true,
                follow("http://r/x", false),
            ),
            (
                "http://r/a",
                "https://r/x",
                false,
                follow("https://r/x", true),
            ),
            (
                "http://r:5000/a",
                "https://r/x",
                false,
                follow("https://r/x", false),
            ),
            ("https://r/a", "file:///etc/passwd", true, away),
            (
                "https://r/a",
                "https://",
                false,
                Redirect::Refuse("the address is not valid"),
            ),
        ] {
            let from = Url::parse(from).unwrap();
            assert_eq!(
                decide(&from, location, insecure),
                expected,
                "{from} {location}"
            );
        }
    }
}
