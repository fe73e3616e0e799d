//! What registries and token servers say in the body of a failed answer.

use serde_json::Value;

use super::secrets::SentSecrets;
use super::server_text::is_web_page;

/// What one error says.
#[derive(Debug, Default)]
struct ApiError {
    /// The code, such as `MANIFEST_UNKNOWN`, `DENIED` or `TOOMANYREQUESTS`.
    code: String,
    /// The text for people.
    message: String,
}

impl ApiError {
    /// Reads the errors of a document; empty if it contains none.
    ///
    /// Sources: OCI distribution-spec v1.1, "Error Codes"; RFC 6749, 5.2, for token servers. Front
    /// ends use these names too.
    fn all_in(document: &Value) -> Vec<ApiError> {
        let errors = match document.get("errors").and_then(Value::as_array) {
            Some(errors) => errors.iter().map(ApiError::read).collect(),
            None => vec![ApiError::read(document)],
        };
        errors
            .into_iter()
            .filter(|error: &ApiError| !error.is_empty())
            .collect()
    }

    fn read(error: &Value) -> ApiError {
        let first = |names: &[&str]| {
            let mut texts = names.iter().filter_map(|name| error.get(name)?.as_str());
            texts
                .find(|text| !text.is_empty())
                .unwrap_or_default()
                .to_string()
        };
        match error.get("error") {
            Some(inner @ Value::Object(_)) => ApiError::read(inner),
            _ => ApiError {
                code: first(&["code", "error"]),
                message: first(&["message", "error_description", "details"]),
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.code.is_empty() && self.message.is_empty()
    }
}

/// Returns what the body of a failed answer says, in one line; empty if it says nothing.
pub(super) fn explain(body: &[u8], secrets: &SentSecrets) -> String {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let errors = document.as_ref().map(ApiError::all_in).unwrap_or_default();
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
    if let Some(document) = document {
        // Whatever it says, it says it in one line.
        return secrets.shown(&document.to_string());
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
                r#"{"error":"invalid_grant","error_description":"the account is locked"}"#,
                "the account is locked (invalid_grant)",
            ),
            (
                r#"{"timestamp":"2026","status":403,"error":"Forbidden","message":"IP not allowed"}"#,
                "IP not allowed (Forbidden)",
            ),
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":null,"detail":null}]}"#,
                "UNAUTHORIZED",
            ),
            (
                r#"{"error":{"code":403,"message":"quota","status":"DENIED"}}"#,
                "quota",
            ),
            (
                "{\n  \"reason\" : \"blocked by policy\"\n}",
                r#"{"reason":"blocked by policy"}"#,
            ),
            ("[]", "[]"),
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
