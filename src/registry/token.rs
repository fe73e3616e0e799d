//! The answers of token servers, and the lifetime of tokens.
//!
//! Source: the distribution project's "Token Authentication Specification" and "OAuth2 Token
//! Authentication".

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::oci::Secret;

/// The lifetime of a token if the server names none, and the shortest that it may name.
const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// A token is no longer used this long before it expires, since a request takes time.
const MARGIN: Duration = Duration::from_secs(5);

/// A token and the time when it expires.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The token itself.
    pub value: Secret,
    expires: Instant,
}

/// Why an answer holds no token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TokenError {
    /// The answer is not JSON of the expected shape.
    #[error("the answer is not valid")]
    Malformed,
    /// The answer contains neither `token` nor `access_token`.
    #[error("the answer holds neither 'token' nor 'access_token'")]
    Missing,
    /// The token contains characters that a header cannot contain.
    #[error("the token holds impossible characters")]
    Unprintable,
}

#[derive(Deserialize)]
struct RawToken {
    token: Option<String>,
    access_token: Option<String>,
    /// A number; some servers send it as a text.
    expires_in: Option<Value>,
}

impl Token {
    /// Parses an answer that arrived at `now`. A token that was issued earlier may expire before
    /// its time here; it is rejected then, and renewed.
    pub(super) fn parse(body: &[u8], now: Instant) -> Result<Token, TokenError> {
        let raw: RawToken = serde_json::from_slice(body).map_err(|_| TokenError::Malformed)?;
        let named = |text: Option<String>| text.filter(|text| !text.is_empty());
        let value = named(raw.token)
            .or(named(raw.access_token))
            .ok_or(TokenError::Missing)?;
        if !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Unprintable);
        }
        let seconds = raw.expires_in.and_then(|value| match value {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        });
        let lifetime = seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or_default()
            .max(MIN_LIFETIME);
        let left = lifetime - MARGIN;
        Ok(Token {
            value: Secret::new(value),
            // Some servers name lifetimes of a hundred years. One that the clock cannot represent
            // becomes a day.
            expires: now
                .checked_add(left)
                .unwrap_or(now + Duration::from_secs(86_400)),
        })
    }

    /// Whether the token can be used at `now`.
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        now < self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many seconds a token is used.
    fn lifetime(body: &str) -> u64 {
        let now = Instant::now();
        let token = Token::parse(body.as_bytes(), now).unwrap();
        token.expires.duration_since(now).as_secs()
    }

    #[test]
    fn lifetimes_follow_the_specification() {
        for (body, expected) in [
            (r#"{"token":"t"}"#, 55),
            (r#"{"token":"t","expires_in":10}"#, 55),
            (r#"{"token":"t","expires_in":null}"#, 55),
            (r#"{"token":"t","expires_in":-5}"#, 55),
            (r#"{"token":"t","expires_in":300.0}"#, 295),
            (r#"{"token":"t","expires_in":"3599"}"#, 3594),
            (r#"{"token":"t","expires_in":"soon"}"#, 55),
            (r#"{"token":"t","expires_in":[1]}"#, 55),
        ] {
            assert_eq!(lifetime(body), expected, "{body}");
        }
    }

    #[test]
    fn token_and_access_token_are_read() {
        for (body, expected) in [
            (r#"{"token":"a","access_token":"b"}"#, Ok("a")),
            (r#"{"token":"","access_token":"b"}"#, Ok("b")),
            (r#"{"access_token":"b","refresh_token":"c"}"#, Ok("b")),
            (r#"{}"#, Err(TokenError::Missing)),
            (r#"{"token":"a\r\nEvil: x"}"#, Err(TokenError::Unprintable)),
            (r#"{"token":7}"#, Err(TokenError::Malformed)),
            ("<html>", Err(TokenError::Malformed)),
        ] {
            let token = Token::parse(body.as_bytes(), Instant::now());
            let value = token.as_ref().map(|token| token.value.expose());
            assert_eq!(
                value.map_err(|_| ()),
                expected.as_ref().map(|v| *v).map_err(|_| ()),
                "{body}"
            );
        }
    }
}
