//! PAX extended headers: records of the form `LENGTH KEY=VALUE\n`.

use super::TarError;
use super::member::Timestamp;

/// The records of a header, in order. They stay in one buffer, since separate strings take many
/// times the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    text: Vec<u8>,
    places: Vec<Place>,
}

/// The offsets of a record in the text, whose length is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: u32,
    equals: u32,
    end: u32,
}

impl Records {
    /// Parses the content of a header.
    pub(super) fn parse(text: Vec<u8>) -> Result<Records, TarError> {
        let mut places = Vec::new();
        let mut at = 0;
        // Some writers pad the text with zeros.
        while at < text.len() && text[at] != 0 {
            let rest = &text[at..];
            let blank = position(rest, b' ')?;
            let length = decimal(&rest[..blank])
                .and_then(|length| usize::try_from(length).ok())
                .filter(|&length| length > blank + 1 && length <= rest.len())
                .ok_or(TarError::BadPax)?;
            let record = rest[blank + 1..length]
                .strip_suffix(b"\n")
                .ok_or(TarError::BadPax)?;
            let start = at + blank + 1;
            places.push(Place {
                start: start as u32,
                equals: (start + position(record, b'=')?) as u32,
                end: (start + record.len()) as u32,
            });
            at += length;
        }
        Ok(Records { text, places })
    }

    /// Returns the last value of `key`; `None` if that is empty.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.pairs()
            .filter(|(found, _)| *found == key.as_bytes())
            .map(|(_, value)| value)
            .last()
            .filter(|value| !value.is_empty())
    }

    /// Returns the value of `key` as a whole number.
    pub(super) fn number(&self, key: &'static str) -> Result<Option<u64>, TarError> {
        self.get(key)
            .map(|value| decimal(value).ok_or(TarError::BadNumber { field: key }))
            .transpose()
    }

    /// Returns the value of `key` as a time: seconds with an optional fraction.
    pub(super) fn time(&self, key: &'static str) -> Result<Option<Timestamp>, TarError> {
        self.get(key)
            .map(|value| time(value).ok_or(TarError::BadNumber { field: key }))
            .transpose()
    }

    /// Returns all keys with their values, in order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |from: u32, to: u32| &self.text[from as usize..to as usize];
        let places = self.places.iter();
        places.map(move |place| {
            let key = part(place.start, place.equals);
            (key, part(place.equals + 1, place.end))
        })
    }
}

fn position(bytes: &[u8], wanted: u8) -> Result<usize, TarError> {
    bytes
        .iter()
        .position(|&byte| byte == wanted)
        .ok_or(TarError::BadPax)
}

/// Parses a whole number in the range of file offsets.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|&value| is_plain && i64::try_from(value).is_ok())
}

fn time(text: &[u8]) -> Option<Timestamp> {
    let (is_negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Digits beyond nanoseconds are cut off.
    let nanoseconds = (0..9).fold(0, |value, index| {
        value * 10 + i64::from(fraction.get(index).map_or(0, |digit| digit - b'0'))
    });
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timestamp {
            seconds,
            nanoseconds,
        },
        (true, 0) => Timestamp {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Timestamp {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_in_order_and_the_last_one_counts() {
        let text = b"12 path=a\nb\n13 mtime=1.5\n10 path=c\n9 gone=x\n8 gone=\n\0\0";
        let records = Records::parse(text.to_vec()).unwrap();
        assert_eq!(records.get("path"), Some(&b"c"[..]));
        assert_eq!(records.pairs().next(), Some((&b"path"[..], &b"a\nb"[..])));
        assert_eq!(records.get("gone"), None);
    }

    #[test]
    fn malformed_records_are_refused() {
        for bytes in [
            &b"path=a\n"[..],
            b"99 path=a\n",
            b"0 path=a\n",
            b"9 path=ab\n",
            b"7 patha\n",
            b"-9 path=a\n",
            b"3 \n",
            b"99999999999999999999 a=b\n",
        ] {
            assert!(
                matches!(Records::parse(bytes.to_vec()), Err(TarError::BadPax)),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn times_have_fractions_and_signs() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1350244992.023960108", Some((1_350_244_992, 23_960_108))),
            ("1.5", Some((1, 500_000_000))),
            ("1.", Some((1, 0))),
            ("1.0000000019", Some((1, 1))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("", None),
            ("1.x", None),
            ("1e5", None),
            ("99999999999999999999", None),
        ] {
            let parsed = time(text.as_bytes()).map(|time| (time.seconds, time.nanoseconds));
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
