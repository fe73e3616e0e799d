//! Media types of manifests, configurations and layers.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A media type, as far as the program distinguishes them.
///
/// Types of layers are not distinguished: the compression is detected from the first bytes, since
/// registries and builders often get the type wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MediaType {
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerManifestList,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.distribution.manifest.v1+prettyjws` and the unsigned form
    DockerSchema1,
    /// Anything else, kept as it was.
    Other(String),
}

impl MediaType {
    /// The manifest types this program accepts, best first, for an `Accept` header.
    pub const ACCEPTED_MANIFESTS: [MediaType; 5] = [
        MediaType::OciIndex,
        MediaType::DockerManifestList,
        MediaType::OciManifest,
        MediaType::DockerManifest,
        MediaType::DockerSchema1,
    ];

    /// Parses a media type, and ignores parameters such as `; charset=utf-8` and upper case.
    pub fn parse(text: &str) -> MediaType {
        let essence = text.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/vnd.oci.image.index.v1+json" => MediaType::OciIndex,
            "application/vnd.oci.image.manifest.v1+json" => MediaType::OciManifest,
            "application/vnd.docker.distribution.manifest.list.v2+json" => {
                MediaType::DockerManifestList
            }
            "application/vnd.docker.distribution.manifest.v2+json" => MediaType::DockerManifest,
            "application/vnd.docker.distribution.manifest.v1+prettyjws"
            | "application/vnd.docker.distribution.manifest.v1+json" => MediaType::DockerSchema1,
            _ => MediaType::Other(essence.to_string()),
        }
    }

    /// The text of the type.
    pub fn as_str(&self) -> &str {
        match self {
            MediaType::OciIndex => "application/vnd.oci.image.index.v1+json",
            MediaType::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            MediaType::DockerManifestList => {
                "application/vnd.docker.distribution.manifest.list.v2+json"
            }
            MediaType::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            MediaType::DockerSchema1 => "application/vnd.docker.distribution.manifest.v1+prettyjws",
            MediaType::Other(text) => text,
        }
    }
}

/// The type of a document without one.
impl Default for MediaType {
    fn default() -> MediaType {
        MediaType::Other(String::new())
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MediaType, D::Error> {
        Ok(MediaType::parse(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        assert_eq!(
            MediaType::parse("Application/vnd.OCI.image.index.v1+json; charset=utf-8"),
            MediaType::OciIndex
        );
    }
}
