//! Tokens: the answer of a token server, and for how long it holds.
//!
//! Source: the distribution project's "Token Authentication Specification" and "OAuth2 Token
//! Authentication".

use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;

use crate::oci::Secret;

use super::time::parse_rfc3339;

/// Lifetime where the server names none, and the least it may name.
const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// How long before its end a token is no longer used, since a request takes time; and how long a
/// new one is, at the least.
const MARGIN: Duration = Duration::from_secs(5);

/// A token and the end of its life.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// What goes after `Bearer`.
    pub value: Secret,
    expires: Instant,
}

/// Why an answer holds no token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TokenError {
    /// Neither JSON nor of the right shape.
    #[error("the answer is not valid")]
    Malformed,
    /// Both names are missing.
    #[error("the answer holds neither 'token' nor 'access_token'")]
    Missing,
    /// It would break the header it goes into.
    #[error("the token holds impossible characters")]
    Unprintable,
}

#[derive(Deserialize)]
struct RawToken {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
    issued_at: Option<String>,
}

impl Token {
    /// Reads an answer that came at `now`. `server_time` is the server's own clock, by which
    /// `issued_at` is judged, so that a wrong clock here does no harm.
    pub(super) fn parse(
        body: &[u8],
        now: Instant,
        server_time: Option<SystemTime>,
    ) -> Result<Token, TokenError> {
        let raw: RawToken = serde_json::from_slice(body).map_err(|_| TokenError::Malformed)?;
        let named = |text: Option<String>| text.filter(|text| !text.is_empty());
        let value = named(raw.token)
            .or(named(raw.access_token))
            .ok_or(TokenError::Missing)?;
        if !value.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(TokenError::Unprintable);
        }
        let age = server_time
            .zip(raw.issued_at.as_deref().and_then(parse_rfc3339))
            .and_then(|(server_time, issued_at)| server_time.duration_since(issued_at).ok())
            .unwrap_or_default();
        let lifetime = raw
            .expires_in
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or_default()
            .max(MIN_LIFETIME);
        let left = lifetime.saturating_sub(age).saturating_sub(MARGIN);
        // Whatever the server's clocks say, it has been sent to be used.
        let left = left.max(MARGIN);
        Ok(Token {
            value: Secret::new(value),
            // Some servers name a hundred years; what does not fit the clock is a day.
            expires: now
                .checked_add(left)
                .unwrap_or(now + Duration::from_secs(86_400)),
        })
    }

    /// Whether it can still be used at `now`.
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        now < self.expires
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds a token lives when it is parsed at server time 2024-03-01T00:00:00Z.
    fn lifetime(body: &str) -> u64 {
        let now = Instant::now();
        let server_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_251_200);
        let token = Token::parse(body.as_bytes(), now, Some(server_time)).unwrap();
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
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2024-02-29T23:58:20Z"}"#,
                195,
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2024-03-01T09:00:00Z"}"#,
                295,
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2023-03-01T09:00:00Z"}"#,
                5,
            ),
        ] {
            assert_eq!(lifetime(body), expected, "{body}");
        }
    }

    #[test]
    fn both_names_are_read_and_nonsense_is_not() {
        for (body, expected) in [
            (r#"{"token":"a","access_token":"b"}"#, Ok("a")),
            (r#"{"token":"","access_token":"b"}"#, Ok("b")),
            (r#"{"access_token":"b","refresh_token":"c"}"#, Ok("b")),
            (r#"{}"#, Err(TokenError::Missing)),
            (r#"{"token":"a\r\nEvil: x"}"#, Err(TokenError::Unprintable)),
            (r#"{"token":7}"#, Err(TokenError::Malformed)),
            ("<html>", Err(TokenError::Malformed)),
        ] {
            let token = Token::parse(body.as_bytes(), Instant::now(), None);
            let value = token.as_ref().map(|token| token.value.expose());
            assert_eq!(
                value.map_err(|_| ()),
                expected.as_ref().map(|v| *v).map_err(|_| ()),
                "{body}"
            );
        }
    }
}
