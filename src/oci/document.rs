//! JSON documents from untrusted sources. A value of a few bytes can take a hundred times as many
//! in memory, so members that are not used are not parsed.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Parses a document that has to be an object: serde would accept a list for a structure too.
///
/// # Errors
/// `serde_json::Error` if it is not JSON or not an object, or a member has a wrong type.
pub(super) fn parse_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Error::custom("it is a list, not an object"));
    }
    serde_json::from_slice(bytes)
}

/// Parses a member that may be `null`, as Go and .NET write empty values.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Parses a list, of which only the first `MAX` items are kept; `null` is an empty list.
pub(crate) fn first<'de, const MAX: usize, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct First<const MAX: usize, T>(PhantomData<T>);
    impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for First<MAX, T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }
        fn visit_unit<E>(self) -> Result<Vec<T>, E> {
            Ok(Vec::new())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while items.len() < MAX
                && let Some(item) = list.next_element()?
            {
                items.push(item);
            }
            while let Some(IgnoredAny) = list.next_element()? {}
            Ok(items)
        }
    }
    deserializer.deserialize_any(First::<MAX, T>(PhantomData))
}

/// An object whose values are not parsed yet, in the order of the names. Of equal names, it has the
/// last.
#[derive(Clone, Debug)]
pub struct RawObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> RawObject<'a> {
    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.position(name).ok().map(|at| self.0[at].1)
    }

    /// Adds a member, or replaces its value.
    pub fn set(&mut self, name: &'a str, value: &'a RawValue) {
        match self.position(name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name.into(), value)),
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

impl<'a> IntoIterator for RawObject<'a> {
    type Item = (Cow<'a, str>, &'a RawValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RawObject<'a>, D::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawObject<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<_, &RawValue>()? {
                    members.push((name, value));
                }
                // A stable sort would take half as much memory again. The position of a value in
                // the document shows which of equal names is the last.
                members.sort_unstable_by(|(name, value), (other_name, other)| {
                    let place = |value: &RawValue| value.get().as_ptr();
                    name.cmp(other_name)
                        .then_with(|| place(other).cmp(&place(value)))
                });
                members.dedup_by(|(name, _), (before, _)| name == before);
                Ok(RawObject(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Serialize for RawObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_at_a_length() {
        #[derive(Deserialize)]
        struct List(#[serde(deserialize_with = "first::<2, _, _>")] Vec<u8>);
        for (text, expected) in [
            ("[]", Some(&[][..])),
            ("null", Some(&[])),
            ("[1]", Some(&[1])),
            ("[1,2]", Some(&[1, 2])),
            (r#"[1,2,"x",{}]"#, Some(&[1, 2])),
            (r#"[1,"x"]"#, None),
            ("[1,2,3", None),
            ("7", None),
        ] {
            let found = serde_json::from_str(text).ok().map(|List(list)| list);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn members_are_sorted_and_the_last_of_a_name_is_kept() {
        let text = r#"{ "b": [1, 2],"a":1,"\u0062":{"z": 1e3},"é":null, "a" : "x"}"#;
        let mut object: RawObject<'_> = serde_json::from_str(text).unwrap();
        assert_eq!(object.get("a").unwrap().get(), r#""x""#);
        assert!(object.get("z").is_none());
        let value = serde_json::from_str("7").unwrap();
        object.set("a", value);
        object.set("c", value);
        assert_eq!(
            serde_json::to_string(&object).unwrap(),
            r#"{"a":7,"b":{"z": 1e3},"c":7,"é":null}"#
        );
        for text in ["[]", "1", "{", r#"{"a"}"#] {
            assert!(serde_json::from_str::<RawObject<'_>>(text).is_err());
        }
    }
}
