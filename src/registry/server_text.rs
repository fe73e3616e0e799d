//! Text and addresses from servers, prepared for messages.

use url::Url;

/// Longest server text in a message, in characters.
const SHOWN_MAX_CHARS: usize = 300;

/// Whether a text is HTML or XML.
pub(super) fn is_web_page(text: &str) -> bool {
    text.trim_start_matches('\u{feff}')
        .trim_start()
        .starts_with('<')
}

/// Removes control characters from a server's text and shortens it.
pub(super) fn clean(text: &str) -> String {
    let mut cleaned: String = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .take(SHOWN_MAX_CHARS + 1)
        .collect();
    if let Some((end, _)) = cleaned.char_indices().nth(SHOWN_MAX_CHARS) {
        cleaned.truncate(end);
        cleaned.push('…');
    }
    cleaned.trim().to_string()
}

/// Whether a character is invisible or changes the direction of text.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns an address without user name, password, query and fragment, any of which may be secret.
/// The result is not shortened.
pub(super) fn redact(url: &Url) -> String {
    let mut shown = url.clone();
    // These fail for addresses without a host, which contain no password.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_fragment(None);
    if shown.query().is_some() {
        shown.set_query(Some("…"));
    }
    shown.to_string().replace("%E2%80%A6", "…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        let text = clean(&"ä".repeat(1000));
        assert_eq!(text.chars().count(), SHOWN_MAX_CHARS + 1);
        assert!(text.ends_with("ä…"));
    }

    #[test]
    fn addresses_are_shown_without_secrets() {
        for (url, expected) in [
            ("https://me:pw@h:1/a?sig=secret#f", "https://h:1/a?…"),
            ("https://h/v2/", "https://h/v2/"),
        ] {
            assert_eq!(redact(&Url::parse(url).unwrap()), expected);
        }
    }
}
