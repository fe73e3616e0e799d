//! Content digests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

/// A hash algorithm that OCI has registered for digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, which nearly all images use.
    Sha256,
    /// SHA-512, which is rare.
    Sha512,
}

impl Algorithm {
    /// The name, as before the colon in a digest.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Hashes `bytes`.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }

    fn hex_len(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// Why a text is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    /// No colon between algorithm and value.
    #[error("digest '{0}' has no algorithm, as in sha256:…")]
    NoAlgorithm(String),
    /// The algorithm is not supported.
    #[error("digest algorithm '{0}' is not supported, only sha256 and sha512 are")]
    UnknownAlgorithm(String),
    /// The value has the wrong length or is not lower-case hexadecimal.
    #[error("digest '{text}' needs {expected} lower-case hexadecimal digits after the colon")]
    BadValue {
        /// The text as given.
        text: String,
        /// The number of digits of the algorithm.
        expected: usize,
    },
}

/// The digest of bytes as they are stored or sent, such as a compressed layer.
///
/// Source: OCI image-spec v1.1, "Descriptors", section on digests.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Hashes `bytes` with SHA-256.
    pub fn of(bytes: &[u8]) -> Digest {
        Algorithm::Sha256.digest(bytes)
    }

    /// The algorithm before the colon.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits after the colon.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first twelve digits, for messages.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let (name, hex) = text
            .split_once(':')
            .ok_or_else(|| DigestError::NoAlgorithm(text.to_string()))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => return Err(DigestError::UnknownAlgorithm(other.to_string())),
        };
        let is_lower_hex = hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex.len() != algorithm.hex_len() || !is_lower_hex {
            return Err(DigestError::BadValue {
                text: text.to_string(),
                expected: algorithm.hex_len(),
            });
        }
        Ok(Digest {
            algorithm,
            hex: hex.to_string(),
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The digest of an *uncompressed* layer, as the image configuration lists it.
///
/// It has a type of its own, so that it is never compared with the digest of the compressed blob.
///
/// Source: OCI image-spec v1.1, "Image Configuration", section on layer DiffIDs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The digest that identifies the tree that is made by applying layers one over the other.
///
/// Source: OCI image-spec v1.1, "Image Configuration", section on layer ChainIDs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// The chain id of layers with these diff_ids, base first; `None` for no layers.
    pub fn of<'a>(diff_ids: impl IntoIterator<Item = &'a DiffId>) -> Option<ChainId> {
        diff_ids
            .into_iter()
            .map(|DiffId(digest)| digest.clone())
            .reduce(|below, top| Digest::of(format!("{below} {top}").as_bytes()))
            .map(ChainId)
    }

    /// The chain id of layers whose diff_ids may be unknown; `None` if one of them is.
    pub fn of_known<'a>(diff_ids: impl IntoIterator<Item = Option<&'a DiffId>>) -> Option<ChainId> {
        let known: Option<Vec<&DiffId>> = diff_ids.into_iter().collect();
        ChainId::of(known?)
    }
}

/// Computes a digest.
#[derive(Clone)]
pub struct Hasher(HasherState);

#[derive(Clone)]
enum HasherState {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Begins a digest with `algorithm`.
    pub fn new(algorithm: Algorithm) -> Hasher {
        Hasher(match algorithm {
            Algorithm::Sha256 => HasherState::Sha256(Sha256::new()),
            Algorithm::Sha512 => HasherState::Sha512(Sha512::new()),
        })
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            HasherState::Sha256(state) => state.update(bytes),
            HasherState::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of the bytes added.
    pub fn finish(self) -> Digest {
        let (algorithm, bytes) = match self.0 {
            HasherState::Sha256(state) => (Algorithm::Sha256, state.finalize().to_vec()),
            HasherState::Sha512(state) => (Algorithm::Sha512, state.finalize().to_vec()),
        };
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Digest { algorithm, hex }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_empty_input_is_the_known_one() {
        assert_eq!(
            Digest::of(b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    /// The digests have been computed by the definition, with sha256sum.
    #[test]
    fn chain_ids_follow_the_oci_specification() {
        let layers = ["a", "b", "c"].map(|text| DiffId(Digest::of(text.as_bytes())));
        assert_eq!(ChainId::of([]), None);
        assert_eq!(ChainId::of(&layers[..1]).unwrap().0, layers[0].0);
        for (count, expected) in [
            (
                2,
                "51c0c8ace48498d6f5fee6b0592cc06f2da0f3cbe09c5a34a97dce85c3889676",
            ),
            (
                3,
                "2fce7f8ce91bcf0a1428b36e1024639fdbd9469eea762dba98aa749631885106",
            ),
        ] {
            let chain = ChainId::of(&layers[..count]).unwrap();
            assert_eq!(chain.0.to_string(), format!("sha256:{expected}"));
        }
    }

    #[test]
    fn malformed_digests_say_which_part_is_wrong() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, expected) in [
            (hex.to_string(), DigestError::NoAlgorithm(hex.to_string())),
            (
                format!("md5:{hex}"),
                DigestError::UnknownAlgorithm("md5".to_string()),
            ),
            (
                "sha256:ab".to_string(),
                DigestError::BadValue {
                    text: "sha256:ab".to_string(),
                    expected: 64,
                },
            ),
            (
                format!("sha256:{}", hex.to_uppercase()),
                DigestError::BadValue {
                    text: format!("sha256:{}", hex.to_uppercase()),
                    expected: 64,
                },
            ),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(expected), "{text}");
        }
    }
}
