//! Credentials for registries.

use std::fmt;

/// A text that never appears in logs, errors or debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, to be sent to a registry or kept in the key store.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A credential that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundCredential {
    /// How to authenticate.
    pub credential: Credential,
    /// What it was read from, for messages: a file in quotes, or a helper.
    pub origin: String,
}

/// How to authenticate with one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password or access token.
    Basic {
        /// The account.
        username: String,
        /// Its password or access token.
        password: Secret,
    },
    /// An OAuth2 refresh token, Docker's `identitytoken`.
    IdentityToken(Secret),
}
