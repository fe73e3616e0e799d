//! Untrusted text, such as a name in an image, made safe for the terminal.

use std::fmt::Display;

/// Returns a text on one line. Characters that could break the line, control the terminal or change
/// the direction of text are escaped, as in `\n` and `\u{1b}`.
pub fn plain(text: impl Display) -> String {
    let text = text.to_string();
    if !text.contains(is_harmful) {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmful(character) {
            plain.extend(character.escape_default());
        } else {
            plain.push(character);
        }
    }
    plain
}

fn is_harmful(character: char) -> bool {
    match character {
        '\t' => false,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_remains_that_controls_a_terminal() {
        for (text, expected) in [
            ("a b\tc/ä文件.txt", "a b\tc/ä文件.txt"),
            ("a\nError: b\r", "a\\nError: b\\r"),
            ("\u{1b}[2J\u{7}\u{7f}", "\\u{1b}[2J\\u{7}\\u{7f}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("gpj\u{202e}exe", "gpj\\u{202e}exe"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }
}
