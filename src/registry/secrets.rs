//! Hides passwords and tokens in messages: some servers repeat in their answers what the client
//! sent, and messages quote these answers.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use url::Url;

use super::server_text::{clean, redact};
use super::transport::Request;

/// Shorter secrets are not hidden: they occur in any text by chance, and the gaps would reveal
/// them.
const MIN_BYTES: usize = 4;

/// The passwords and tokens that were sent.
#[derive(Default)]
pub(super) struct SentSecrets(Mutex<BTreeSet<String>>);

impl SentSecrets {
    /// Notes the secrets of a request before it is sent.
    pub(super) fn note(&self, request: &Request) {
        self.note_login_in(&request.url);
        let header = request.authorization.as_ref();
        let header = header.and_then(|header| header.to_str().ok());
        if let Some((scheme, value)) = header.and_then(|header| header.split_once(' ')) {
            self.add(value);
            self.add(value.trim_end_matches('='));
            if scheme == "Basic"
                && let Ok(pair) = BASE64.decode(value)
                && let Some((_, password)) = String::from_utf8_lossy(&pair).split_once(':')
            {
                self.add(password);
            }
        }
        for (name, value) in request.form.iter().flatten() {
            if *name == "refresh_token" {
                self.add(value);
            }
        }
    }

    /// Notes the login in an address, such as that of a proxy.
    pub(super) fn note_login_in(&self, address: &Url) {
        let Some(password) = address.password() else {
            return;
        };
        let password = percent_decoded(password);
        let pair = format!("{}:{password}", percent_decoded(address.username()));
        self.add(&BASE64.encode(pair));
        self.add(&password);
    }

    fn add(&self, secret: &str) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if secret.len() >= MIN_BYTES && !secrets.contains(secret) {
            secrets.insert(secret.to_string());
        }
    }

    /// Returns a server's text for messages: without secrets and control characters, and shortened.
    pub(super) fn shown(&self, text: &str) -> String {
        clean(&self.hide(text))
    }

    /// Returns an address for messages. A server may have chosen it.
    pub(super) fn shown_url(&self, url: &Url) -> String {
        self.shown(&redact(url))
    }

    /// Replaces each secret in the text by `…`, plain or encoded as in an address or in JSON.
    fn hide(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hidden = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let lengths = secrets.iter().filter_map(|secret| length_at(rest, secret));
            match lengths.max() {
                Some(length) => {
                    hidden.push('…');
                    rest = &rest[length..];
                }
                None => {
                    hidden.push(character);
                    rest = &rest[character.len_utf8()..];
                }
            }
        }
        hidden
    }
}

/// Returns how many bytes `secret` takes at the beginning of `text`; `None` if it is not there.
fn length_at(text: &str, secret: &str) -> Option<usize> {
    let mut rest = text.as_bytes();
    for &byte in secret.as_bytes() {
        rest = match rest {
            [b'%', high, low, rest @ ..] if hex_byte([*high, *low]) == Some(byte) => rest,
            [b'\\', escaped, rest @ ..] if *escaped == byte => rest,
            [b'+', rest @ ..] if byte == b' ' => rest,
            [first, rest @ ..] if *first == byte => rest,
            _ => return None,
        };
    }
    Some(text.len() - rest.len())
}

/// Decodes the `%xx` escapes in a part of an address.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex_byte([*high, *low]),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex_byte(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn secrets(secrets: &[&str]) -> SentSecrets {
        let sent = SentSecrets::default();
        secrets.iter().for_each(|secret| sent.add(secret));
        sent
    }

    #[test]
    fn secrets_are_hidden_in_every_encoding() {
        for (secret, text, shown) in [
            ("radium", "no radium for radium!", "no … for …!"),
            ("radium", "radiu", "radiu"),
            ("radium", "raradium", "ra…"),
            (
                "a b/%é",
                "<a b/%é> a+b%2f%25%C3%A9,a%20b/%25%c3%a9",
                "<…> …,…",
            ),
            (r#"pa"s\"#, r#"{"x":"pa\"s\\"}"#, r#"{"x":"…"}"#),
            ("é%%%", "é%%%%", "…%"),
            ("abc", "abc", "abc"),
        ] {
            assert_eq!(secrets(&[secret]).shown(text), shown, "{text}");
        }
        // The longest of several secrets is hidden, and shortening cuts none in two.
        assert_eq!(secrets(&["abcd", "abcdef"]).shown("abcdefg"), "…g");
        let long = "x".repeat(297);
        let shown = secrets(&["radium"]).shown(&format!("{long}radium"));
        assert_eq!(shown, format!("{long}…"));
        let url = Url::parse("https://h/radi%75m?x").unwrap();
        assert_eq!(secrets(&["radium"]).shown_url(&url), "https://h/…?…");
    }

    #[test]
    fn all_credentials_of_a_request_are_noted() {
        let url = || Url::parse("https://h/").unwrap();
        let with_header = |header: &'static str| Request {
            authorization: Some(HeaderValue::from_static(header)),
            ..Request::get(url())
        };
        let sent = SentSecrets::default();
        sent.note(&with_header("Basic bWFyaWU6Y3VyaWU6eA=="));
        sent.note(&with_header("Bearer t0ken"));
        sent.note(&Request {
            form: Some(vec![
                ("service", "service".to_string()),
                ("refresh_token", "refresh me".to_string()),
            ]),
            ..Request::get(url())
        });
        sent.note_login_in(&Url::parse("socks5://eve:p%25w%5A7@proxy").unwrap());
        let said = "marie curie:x bWFyaWU6Y3VyaWU6eA== bWFyaWU6Y3VyaWU6eA t0ken service refresh+me p%wZ7 p%25wZ7 ZXZlOnAld1o3";
        assert_eq!(sent.shown(said), "marie … … … … service … … … …");
    }
}
