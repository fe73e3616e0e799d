//! JSON in the format of udocker.py.

use std::fmt;
use std::io;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::value::RawValue;

use crate::oci::RawObject;

/// Formats JSON with sorted keys, four spaces of indentation, and ASCII alone, so that scripts that
/// compare it with the output of udocker.py find no difference.
pub fn pretty_json(value: &Value) -> String {
    let mut bytes = Vec::new();
    // Writing JSON to memory cannot fail; an empty text would reveal that it did.
    let _ = write_pretty_json(&mut bytes, value);
    String::from_utf8(bytes).unwrap_or_default()
}

/// Writes JSON in the format of [`pretty_json`].
///
/// # Errors
/// `out` cannot be written.
pub(super) fn write_pretty_json(out: impl io::Write, document: &impl Serialize) -> io::Result<()> {
    let formatter = AsciiPretty(PrettyFormatter::with_indent(b"    "));
    let mut serializer = serde_json::Serializer::with_formatter(out, formatter);
    Ok(document.serialize(&mut serializer)?)
}

/// An untrusted document, to be printed in the format of a [`Value`] parsed from it.
///
/// The parts of a [`Value`] can take fifty times the memory of their text. So they stay text, and
/// each is parsed when it is printed: only the members of the objects and lists that are open at a
/// time are held.
#[derive(Clone, Copy, Debug)]
pub struct JsonDocument<'a>(&'a RawValue);

impl<'a> JsonDocument<'a> {
    /// Checks the whole document, so that nothing of a damaged one is printed.
    ///
    /// # Errors
    /// The text is not JSON, or is nested too deeply.
    pub fn parse(bytes: &'a [u8]) -> Result<JsonDocument<'a>, serde_json::Error> {
        let ValidJson = serde_json::from_slice(bytes)?;
        serde_json::from_slice(bytes).map(JsonDocument)
    }
}

impl Serialize for JsonDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.get();
        match text.as_bytes().first() {
            Some(b'{') => {
                let members: RawObject<'_> =
                    serde_json::from_str(text).map_err(S::Error::custom)?;
                let members = members.into_iter();
                serializer.collect_map(members.map(|(name, value)| (name, JsonDocument(value))))
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(text).map_err(S::Error::custom)?;
                serializer.collect_seq(items.into_iter().map(JsonDocument))
            }
            _ => {
                let value: Value = serde_json::from_str(text).map_err(S::Error::custom)?;
                value.serialize(serializer)
            }
        }
    }
}

/// Any value. It is checked as thoroughly as a [`Value`], but not kept.
struct ValidJson;

impl<'de> Deserialize<'de> for ValidJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ValidJson, D::Error> {
        deserializer.deserialize_any(ValidJson)
    }
}

impl<'de> Visitor<'de> for ValidJson {
    type Value = ValidJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<ValidJson, E> {
        Ok(ValidJson)
    }

    fn visit_bool<E>(self, _: bool) -> Result<ValidJson, E> {
        Ok(ValidJson)
    }

    fn visit_i64<E>(self, _: i64) -> Result<ValidJson, E> {
        Ok(ValidJson)
    }

    fn visit_u64<E>(self, _: u64) -> Result<ValidJson, E> {
        Ok(ValidJson)
    }

    fn visit_f64<E>(self, _: f64) -> Result<ValidJson, E> {
        Ok(ValidJson)
    }

    fn visit_str<E>(self, _: &str) -> Result<ValidJson, E> {
        Ok(ValidJson)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ValidJson, A::Error> {
        while let Some(ValidJson) = list.next_element()? {}
        Ok(ValidJson)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ValidJson, A::Error> {
        while let Some((ValidJson, ValidJson)) = map.next_entry()? {}
        Ok(ValidJson)
    }
}

struct AsciiPretty<'a>(PrettyFormatter<'a>);

/// Passes everything but string content on to the pretty formatter.
impl Formatter for AsciiPretty<'_> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        for character in fragment.chars() {
            if character.is_ascii() {
                writer.write_all(&[character as u8])?;
                continue;
            }
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    #[test]
    fn the_format_is_that_of_python() {
        let value: Value =
            serde_json::from_str(r#"{"b":[1,{"x":null}],"a":"é\n\u0001😀","c":[],"d":{}}"#)
                .unwrap();
        let expected = r#"{
    "a": "\u00e9\n\u0001\ud83d\ude00",
    "b": [
        1,
        {
            "x": null
        }
    ],
    "c": [],
    "d": {}
}"#;
        assert_eq!(pretty_json(&value), expected);
    }

    /// Returns the printed document, or why it is not valid.
    fn printed(text: &str) -> Result<String, String> {
        let document = JsonDocument::parse(text.as_bytes()).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        write_pretty_json(&mut bytes, &document).unwrap();
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn printed_as_value(text: &str) -> Result<String, String> {
        let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(pretty_json(&value))
    }

    #[test]
    fn document_is_printed_and_refused_like_a_value() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for text in [
            "",
            "nul",
            " null\n",
            "true ",
            "[]",
            "{ }",
            "[1,]",
            "[1] 2",
            r#"{"b":1,"a":2,"b":{"x":[],"":{}},"\u0061":3}"#,
            r#"{"a":1,"\ud83d\ude00":2,"😀":3,"é":4,"z":5}"#,
            r#"{"a":1,"a"}"#,
            r#"["\ud800"]"#,
            r#"["\x"]"#,
            "[\"\u{1}\"]",
            "[1e3, 1E-7, 1.0, -0, -0.0, 0.1e1, 123456789012345678901234567890]",
            "[18446744073709551615, -9223372036854775808, 9007199254740993]",
            "[1e999]",
            "[01]",
            &nested(127),
            &nested(128),
            &nested(100_000),
        ] {
            assert_eq!(printed(text), printed_as_value(text), "{text}");
        }
        assert!(JsonDocument::parse(b"[\"\xff\"]").is_err());
    }

    /// Generates JSON with all its syntax.
    fn json() -> impl Strategy<Value = String> {
        let text = r#""([a-c"é😀\\]{0,2}|\\[\\"/bnrt]|\\u00[0-9a-f]{2}|\\ud83d\\ude0[0-9])""#;
        let text = || {
            text.prop_filter("quotes are escaped", |text: &String| {
                serde_json::from_str::<Value>(text).is_ok()
            })
        };
        let number = "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?";
        let leaf = prop_oneof!["null|true|false", number, text()];
        let blank = "[ \n\t\r]?";
        leaf.prop_recursive(6, 60, 6, move |inner| {
            let item = (blank, inner.clone(), blank).prop_map(|(a, item, b)| a + &item + &b);
            let member = (text(), blank, inner)
                .prop_map(|(name, blank, value)| format!("{blank}{name}{blank}:{value}"));
            prop_oneof![
                vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
                vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_is_printed_like_a_value(text in json()) {
            prop_assert_eq!(printed(&text), printed_as_value(&text));
        }

        #[test]
        fn damaged_document_is_refused_like_a_value(text in json(), at in any::<Index>(), by in any::<char>()) {
            let mut characters: Vec<char> = text.chars().collect();
            let at = at.index(characters.len());
            characters[at] = by;
            let text: String = characters.into_iter().collect();
            prop_assert_eq!(printed(&text), printed_as_value(&text));
        }
    }
}
