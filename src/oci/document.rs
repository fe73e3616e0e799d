//! JSON documents.

use serde::de::{DeserializeOwned, Error};

/// Reads a document that has to be an object. serde takes a list for a structure too.
///
/// # Errors
/// It is no JSON, no object, or a member is of a wrong kind.
pub(super) fn parse_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Error::custom("it is a list, not an object"));
    }
    serde_json::from_slice(bytes)
}
