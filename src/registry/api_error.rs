//! What registries and token servers say in the body of a failed answer.

use serde::Deserialize;

use super::secrets::SentSecrets;
use super::server_text::is_web_page;

/// One entry of a registry's error document.
///
/// Source: OCI distribution-spec v1.1, "Error Codes".
#[derive(Clone, Debug, PartialEq, Deserialize)]
struct ApiError {
    /// The code, such as `MANIFEST_UNKNOWN`, `DENIED` or `TOOMANYREQUESTS`.
    #[serde(default)]
    code: String,
    /// The text for people.
    #[serde(default)]
    message: String,
}

impl ApiError {
    /// Reads the error document of a registry or token server; empty if the body is none.
    fn parse_all(body: &[u8]) -> Vec<ApiError> {
        #[derive(Deserialize)]
        struct Envelope {
            errors: Vec<ApiError>,
        }
        /// Token servers and front ends send a single text, under one of these names.
        #[derive(Deserialize)]
        struct Single {
            #[serde(alias = "details", alias = "error_description", alias = "error")]
            message: String,
        }
        if let Ok(envelope) = serde_json::from_slice::<Envelope>(body) {
            return envelope.errors;
        }
        match serde_json::from_slice::<Single>(body) {
            Ok(single) => vec![ApiError {
                code: String::new(),
                message: single.message,
            }],
            Err(_) => Vec::new(),
        }
    }
}

/// Returns what the body of a failed answer says, in one line; empty if it says nothing.
pub(super) fn explain(body: &[u8], secrets: &SentSecrets) -> String {
    let errors = ApiError::parse_all(body);
    if !errors.is_empty() {
        let text = |error: &ApiError| {
            let [message, code] = [&error.message, &error.code].map(|text| secrets.shown(text));
            match (message.as_str(), code.as_str()) {
                ("", _) => code,
                (_, "") => message,
                _ => format!("{message} ({code})"),
            }
        };
        let texts: Vec<String> = errors.iter().take(3).map(text).collect();
        return texts.join(", ");
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    if is_web_page(text) {
        return "the answer is a web page, not a registry's".to_string();
    }
    secrets.shown(text.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_become_one_line() {
        for (body, expected) in [
            (
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"9"}}]}"#,
                "manifest unknown (MANIFEST_UNKNOWN)",
            ),
            (
                r#"{"errors":[{"code":"DENIED"},{"message":"go away"}]}"#,
                "DENIED, go away",
            ),
            (
                r#"{"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (r#"{"error":"unavailable"}"#, "unavailable"),
            (
                "\n<!DOCTYPE html><title>x</title>",
                "the answer is a web page, not a registry's",
            ),
            ("404 page not found\nmore\n", "404 page not found"),
            ("a\u{1b}[31mred\u{7}\tb", "a[31mred b"),
            ("", ""),
            (r#"{"errors":[]}"#, r#"{"errors":[]}"#),
        ] {
            let found = explain(body.as_bytes(), &SentSecrets::default());
            assert_eq!(found, expected, "{body}");
        }
    }
}
