//! The `WWW-Authenticate` header, with which a registry asks for authentication (status 401).
//!
//! ```text
//! Bearer realm="https://auth.example/token",service="example",scope="repository:a/b:pull,push"
//! ```
//!
//! Source: RFC 9110, section 11; the distribution project's "Token Authentication Specification".

/// One way to authenticate that a registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token from `realm`.
    Bearer {
        /// The address of the token server.
        realm: String,
        /// The service that the token is for; some registries leave it out.
        service: Option<String>,
        /// The scope that the token is for, as sent, commas included.
        scope: Option<String>,
    },
    /// User name and password in every request.
    Basic,
}

/// Reads all values of the header. Unknown schemes and damaged parts are left out.
pub(super) fn parse_challenges<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    values
        .into_iter()
        .flat_map(|value| Scanner::new(value).challenges())
        .collect()
}

struct RawChallenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl RawChallenge {
    fn known(self) -> Option<Challenge> {
        let get = |name: &str| {
            self.parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
                .filter(|value| !value.is_empty())
        };
        match self.scheme.as_str() {
            "bearer" => Some(Challenge::Bearer {
                realm: get("realm")?,
                service: get("service"),
                scope: get("scope"),
            }),
            "basic" => Some(Challenge::Basic),
            _ => None,
        }
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn new(rest: &'a str) -> Scanner<'a> {
        Scanner { rest }
    }

    fn challenges(mut self) -> Vec<Challenge> {
        let mut found: Vec<RawChallenge> = Vec::new();
        loop {
            self.skip(|c| c.is_ascii_whitespace() || c == ',');
            let Some(word) = self.word() else { break };
            self.skip(|c| c.is_ascii_whitespace());
            // A word before '=' is a parameter of the preceding scheme; any other word is a scheme.
            if let Some(rest) = self.rest.strip_prefix('=') {
                self.rest = rest;
                self.skip(|c| c.is_ascii_whitespace());
                let value = self.value();
                if let Some(challenge) = found.last_mut() {
                    challenge
                        .parameters
                        .push((word.to_ascii_lowercase(), value));
                }
            } else {
                found.push(RawChallenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                });
            }
        }
        found.into_iter().filter_map(RawChallenge::known).collect()
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(unwanted);
    }

    fn word(&mut self) -> Option<&'a str> {
        let end = self
            .rest
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | '=' | '"'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// Reads a quoted string with backslash escapes, or a bare word.
    fn value(&mut self) -> String {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find(',').unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            return value.trim_end().to_string();
        };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                other => value.push(other),
            }
        }
        self.rest = "";
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_string(),
            service: service.map(str::to_string),
            scope: scope.map(str::to_string),
        }
    }

    #[test]
    fn challenges_of_real_registries_are_parsed() {
        for (values, expected) in [
            (
                vec![
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull,push""#,
                ],
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/busybox:pull,push"),
                )],
            ),
            (
                vec![r#"Bearer realm="https://nvcr.io/proxy_auth", scope="repository:a:pull""#],
                vec![bearer(
                    "https://nvcr.io/proxy_auth",
                    None,
                    Some("repository:a:pull"),
                )],
            ),
            (
                vec![r#"bEARER Realm = "https://h/t" , Service=plain"#],
                vec![bearer("https://h/t", Some("plain"), None)],
            ),
            (
                vec![
                    r#"Basic realm="a, b=\"c\", Bearer realm=x", Bearer realm="https://h/t",service="""#,
                ],
                vec![Challenge::Basic, bearer("https://h/t", None, None)],
            ),
            (
                vec!["Negotiate", "Basic realm=\"x\""],
                vec![Challenge::Basic],
            ),
            (
                vec![r#"Negotiate YWJj==, Basic realm="x""#],
                vec![Challenge::Basic],
            ),
            (vec!["Basic"], vec![Challenge::Basic]),
            (vec!["Bearer service=\"no realm\""], vec![]),
            (
                vec!["Bearer realm=\"unterminated"],
                vec![bearer("unterminated", None, None)],
            ),
            (vec!["", "=", "\"", ",,,", "= =\"", "realm=x"], vec![]),
        ] {
            assert_eq!(parse_challenges(values.clone()), expected, "{values:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parser_consumes_any_text(text in ".{0,200}") {
            parse_challenges([text.as_str()]);
        }
    }
}
