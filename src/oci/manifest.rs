//! Image manifests and indexes, in their OCI and Docker forms.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::document::{first, or_default, parse_object};
use super::{Digest, MediaType, Platform};

/// The largest manifest accepted, in bytes.
///
/// Source: OCI distribution-spec v1.1, "Pushing manifests": registries should allow 4 MiB.
pub const MANIFEST_MAX_BYTES: usize = 4 << 20;

/// The most layers an image may have; no builder makes more than 127.
const LAYERS_MAX: usize = 4096;

/// The most manifests an index may list; there are some fifty platforms.
const MANIFESTS_MAX: usize = 4096;

/// Configuration types of artifacts that are not images. Other unknown types may be images.
const ARTIFACT_CONFIGS: [&str; 4] = [
    "application/vnd.oci.empty.v1+json",
    "application/vnd.cncf.helm.config.v1+json",
    "application/vnd.sylabs.sif.config.v1+json",
    "application/vnd.docker.plugin.v1+json",
];

/// How many URLs of a foreign layer are kept; Windows' layers have one.
const URLS_MAX: usize = 16;

/// Describes a stored blob.
///
/// Source: OCI image-spec v1.1, "Content Descriptors".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// The type of the blob.
    #[serde(rename = "mediaType", default, deserialize_with = "or_default")]
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// The number of its bytes; `None` only in schema 1, which does not have it.
    #[serde(default)]
    pub size: Option<u64>,
    /// URLs from where a foreign layer can be downloaded.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "first::<URLS_MAX, _, _>"
    )]
    pub urls: Vec<String>,
}

/// One image: its configuration and layers, base first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The configuration; schema 1 keeps it inside the manifest instead.
    pub config: ConfigSource,
    /// The layers in the order they are applied.
    pub layers: Vec<Descriptor>,
}

/// The place of the image configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A blob of its own.
    Blob(Descriptor),
    /// The text inside a schema 1 manifest.
    Inline(String),
}

/// One manifest in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The manifest, or a further index.
    pub descriptor: Descriptor,
    /// Its platform, if the index has it.
    pub platform: Option<Platform>,
}

/// A list of manifests, one per platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// The entries in their order, without attestations.
    pub entries: Vec<IndexEntry>,
}

/// A parsed manifest document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedManifest {
    /// An image.
    Image(Manifest),
    /// An index or manifest list.
    Index(Index),
}

/// Why a document is not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The document is larger than registries accept.
    #[error("the manifest is larger than {MANIFEST_MAX_BYTES} bytes")]
    TooLarge,
    /// The document is not JSON, or a required member is missing or wrong.
    #[error("the manifest is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// The document is JSON, but neither an image nor an index.
    #[error("the document is neither an image manifest nor an index{0}")]
    Unknown(String),
    /// The document could be read in two ways.
    #[error("the manifest is refused, since it could be read as {0} and as {1}")]
    Ambiguous(&'static str, &'static str),
    /// The manifest has too many layers.
    #[error("the manifest lists {0} layers, more than the {LAYERS_MAX} allowed")]
    TooManyLayers(usize),
    /// The index has too many manifests.
    #[error("the index lists {0} manifests, more than the {MANIFESTS_MAX} allowed")]
    TooManyManifests(usize),
    /// The manifest is that of an artifact, not a container image.
    #[error("this is not a container image but an artifact of type '{0}'")]
    Artifact(String),
}

impl ManifestError {
    /// Whether the document is valid, but not an image.
    pub fn is_of_no_image(&self) -> bool {
        matches!(self, ManifestError::Artifact(_) | ManifestError::Unknown(_))
    }
}

/// The members that show the kind of a document. No others are kept: a value of four bytes in JSON
/// can take a hundred times as many in memory.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Shape {
    media_type: Option<MediaType>,
    artifact_type: Option<String>,
    manifests: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawManifest {
    config: Descriptor,
    #[serde(deserialize_with = "or_default")]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct RawSchema1 {
    #[serde(rename = "fsLayers")]
    fs_layers: Vec<RawSchema1Layer>,
    history: Vec<RawSchema1History>,
}

#[derive(Deserialize)]
struct RawSchema1Layer {
    #[serde(rename = "blobSum")]
    blob_sum: Digest,
}

#[derive(Deserialize)]
struct RawSchema1History {
    #[serde(rename = "v1Compatibility")]
    v1_compatibility: String,
}

#[derive(Deserialize)]
struct RawIndex {
    #[serde(deserialize_with = "or_default")]
    manifests: Vec<RawIndexEntry>,
}

#[derive(Deserialize)]
struct RawIndexEntry {
    #[serde(rename = "mediaType", default, deserialize_with = "or_default")]
    media_type: MediaType,
    digest: Digest,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    platform: Option<RawPlatform>,
    #[serde(default)]
    annotations: Option<RawAnnotations>,
}

#[derive(Deserialize)]
struct RawAnnotations {
    #[serde(rename = "vnd.docker.reference.type")]
    reference_type: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl ParsedManifest {
    /// Parses a manifest or index.
    ///
    /// Its kind is that of `content_type` if that is a known type, else of the document's own
    /// `mediaType`, else it depends on the members. Where these disagree, readers of the same bytes
    /// would see different images, so that such a document is refused.
    ///
    /// Source: OCI image-spec v1.1, "Image Manifest" and "Image Index", which require this since
    /// CVE-2021-41190.
    ///
    /// # Errors
    /// `ManifestError`, by cause. Damaged documents are not repaired.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_MAX_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let shape: Shape = parse_object(bytes)?;
        let members = [
            (Kind::Index, shape.manifests.is_some()),
            (Kind::Schema1, shape.fs_layers.is_some()),
            (Kind::Image, shape.layers.or(shape.config).is_some()),
        ];
        let members = members.into_iter().filter(|(_, is_there)| *is_there);
        let types = [content_type, shape.media_type.as_ref()];
        let by_type = only(types.into_iter().flatten().filter_map(Kind::of))?;
        let by_members = only(members.map(|(kind, _)| kind))?;
        match by_type.or(by_members) {
            Some(Kind::Index) => parse_index(bytes),
            Some(Kind::Schema1) => parse_schema1(bytes),
            Some(Kind::Image) => parse_image(bytes, shape.artifact_type),
            None => Err(ManifestError::Unknown(
                shape
                    .media_type
                    .map(|media_type| format!(" but of type '{media_type}'"))
                    .unwrap_or_default(),
            )),
        }
    }
}

/// The kind of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Image,
    Index,
    Schema1,
}

impl Kind {
    fn of(media_type: &MediaType) -> Option<Kind> {
        match media_type {
            MediaType::OciManifest | MediaType::DockerManifest => Some(Kind::Image),
            MediaType::OciIndex | MediaType::DockerManifestList => Some(Kind::Index),
            MediaType::DockerSchema1 => Some(Kind::Schema1),
            MediaType::Other(_) => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Image => "an image",
            Kind::Index => "an index",
            Kind::Schema1 => "an image of schema 1",
        }
    }
}

/// The kind that all of `kinds` are.
fn only(mut kinds: impl Iterator<Item = Kind>) -> Result<Option<Kind>, ManifestError> {
    let Some(first) = kinds.next() else {
        return Ok(None);
    };
    match kinds.find(|kind| *kind != first) {
        Some(other) => Err(ManifestError::Ambiguous(first.name(), other.name())),
        None => Ok(Some(first)),
    }
}

fn parse_image(
    bytes: &[u8],
    artifact_type: Option<String>,
) -> Result<ParsedManifest, ManifestError> {
    let raw: RawManifest = parse_object(bytes)?;
    let config_type = raw.config.media_type.as_str();
    if ARTIFACT_CONFIGS.contains(&config_type) {
        return Err(ManifestError::Artifact(
            artifact_type.unwrap_or_else(|| config_type.to_string()),
        ));
    }
    check_layer_count(raw.layers.len())?;
    let layers = raw
        .layers
        .into_iter()
        // BuildKit's attestations and other statements about the image are not part of its tree.
        .filter(|layer| !layer.media_type.as_str().contains("in-toto"))
        .collect();
    Ok(ParsedManifest::Image(Manifest {
        config: ConfigSource::Blob(raw.config),
        layers,
    }))
}

/// Source: Docker image manifest version 2, schema 1: `fsLayers` and `history` are newest first.
fn parse_schema1(bytes: &[u8]) -> Result<ParsedManifest, ManifestError> {
    let raw: RawSchema1 = parse_object(bytes)?;
    check_layer_count(raw.fs_layers.len())?;
    let config = raw
        .history
        .into_iter()
        .next()
        .map(|entry| entry.v1_compatibility)
        .ok_or_else(|| ManifestError::Unknown(": its history is empty".to_string()))?;
    let layers = raw
        .fs_layers
        .into_iter()
        .rev()
        .map(|layer| Descriptor {
            media_type: MediaType::parse(
                "application/vnd.docker.container.image.rootfs.diff+x-gtar",
            ),
            digest: layer.blob_sum,
            size: None,
            urls: Vec::new(),
        })
        .collect();
    Ok(ParsedManifest::Image(Manifest {
        config: ConfigSource::Inline(config),
        layers,
    }))
}

fn check_layer_count(count: usize) -> Result<(), ManifestError> {
    if count > LAYERS_MAX {
        return Err(ManifestError::TooManyLayers(count));
    }
    Ok(())
}

fn parse_index(bytes: &[u8]) -> Result<ParsedManifest, ManifestError> {
    let raw: RawIndex = parse_object(bytes)?;
    if raw.manifests.len() > MANIFESTS_MAX {
        return Err(ManifestError::TooManyManifests(raw.manifests.len()));
    }
    let entries = raw
        .manifests
        .into_iter()
        .filter(|entry| !is_attestation(entry))
        .map(|entry| IndexEntry {
            platform: entry.platform.and_then(platform_of),
            descriptor: Descriptor {
                media_type: entry.media_type,
                digest: entry.digest,
                size: entry.size,
                urls: Vec::new(),
            },
        })
        .collect();
    Ok(ParsedManifest::Index(Index { entries }))
}

fn platform_of(raw: RawPlatform) -> Option<Platform> {
    if raw.architecture.is_empty() {
        return None;
    }
    Some(Platform {
        os: if raw.os.is_empty() {
            "linux".to_string()
        } else {
            raw.os
        },
        architecture: raw.architecture,
        variant: raw.variant.unwrap_or_default(),
    })
}

/// Source: Docker's attestation storage: an entry for platform `unknown/unknown`, annotated.
fn is_attestation(entry: &RawIndexEntry) -> bool {
    let annotated = entry
        .annotations
        .as_ref()
        .is_some_and(|annotations| annotations.reference_type.is_some());
    let unknown = entry
        .platform
        .as_ref()
        .is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown");
    annotated || unknown
}

impl Index {
    /// Returns the entries that may be, or lead to, an image for `wanted`, best first.
    ///
    /// Exact platforms come first, then older variants, then nested indexes and entries that do
    /// not say what they are for, which have to be looked into.
    pub fn candidates(&self, wanted: &Platform) -> Vec<&IndexEntry> {
        let mut rated: Vec<(u32, &IndexEntry)> = self
            .entries
            .iter()
            .filter_map(|entry| {
                let distance = match &entry.platform {
                    Some(platform) => wanted.distance(platform)?,
                    None => u32::MAX,
                };
                Some((distance, entry))
            })
            .collect();
        rated.sort_by_key(|(distance, _)| *distance);
        rated.into_iter().map(|(_, entry)| entry).collect()
    }

    /// The platforms in the index, for messages.
    pub fn platforms(&self) -> Vec<String> {
        self.entries
            .iter()
            .filter_map(|entry| entry.platform.as_ref().map(Platform::to_string))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn digest(byte: u8) -> String {
        format!("sha256:{}", format!("{byte:02x}").repeat(32))
    }

    fn descriptor(byte: u8) -> Value {
        serde_json::json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(byte), "size": 7})
    }

    fn parse(document: &Value) -> Result<ParsedManifest, ManifestError> {
        ParsedManifest::parse(document.to_string().as_bytes(), None)
    }

    fn index(document: &Value) -> Index {
        match parse(document).unwrap() {
            ParsedManifest::Index(index) => index,
            other => panic!("{other:?}"),
        }
    }

    fn entry(byte: u8, platform: Value) -> Value {
        let mut entry = descriptor(byte);
        entry["platform"] = platform;
        entry
    }

    #[test]
    fn candidates_are_best_first_and_never_attestations() {
        let index = index(&serde_json::json!({"manifests": [
            descriptor(9),
            entry(1, serde_json::json!({"os": "linux", "architecture": "arm", "variant": "v5"})),
            entry(2, serde_json::json!({"os": "linux", "architecture": "arm", "variant": "v7"})),
            entry(3, serde_json::json!({"os": "linux", "architecture": "amd64"})),
            entry(4, serde_json::json!({"os": "unknown", "architecture": "unknown"})),
            entry(5, serde_json::json!({"os": "windows", "architecture": "arm"})),
        ]}));
        let chosen: Vec<String> = index
            .candidates(&"linux/arm/v7".parse().unwrap())
            .iter()
            .map(|entry| entry.descriptor.digest.to_string())
            .collect();
        assert_eq!(chosen, [digest(2), digest(1), digest(9)]);
        assert!(index.candidates(&"linux/s390x".parse().unwrap()).len() == 1);
    }

    #[test]
    fn schema1_layers_come_base_first() {
        let document = serde_json::json!({
            "schemaVersion": 1,
            "fsLayers": [{"blobSum": digest(2)}, {"blobSum": digest(1)}],
            "history": [{"v1Compatibility": "{\"id\":\"top\"}"}, {"v1Compatibility": "{}"}],
        });
        let ParsedManifest::Image(manifest) = parse(&document).unwrap() else {
            panic!("not an image");
        };
        assert_eq!(
            manifest.config,
            ConfigSource::Inline("{\"id\":\"top\"}".to_string())
        );
        let layers: Vec<String> = manifest
            .layers
            .iter()
            .map(|l| l.digest.to_string())
            .collect();
        assert_eq!(layers, [digest(1), digest(2)]);
    }

    #[test]
    fn documents_that_could_be_read_in_two_ways_are_refused() {
        let index = "application/vnd.oci.image.index.v1+json";
        let list = "application/vnd.docker.distribution.manifest.list.v2+json";
        let image = "application/vnd.docker.distribution.manifest.v2+json";
        let members = |names: &[&str]| {
            let mut document = serde_json::json!({});
            for name in names {
                document[name] = serde_json::json!([]);
            }
            if names.contains(&"config") {
                document["config"] = descriptor(1);
            }
            document
        };
        for (content_type, own, names, is_clear) in [
            (Some(image), None, &["config", "layers"][..], true),
            (Some(image), Some(image), &["config", "layers"], true),
            (
                Some("application/json"),
                Some(image),
                &["config", "layers"],
                true,
            ),
            (Some(image), Some("text/x"), &["config", "layers"], true),
            (Some(list), Some(index), &["manifests"], true),
            (Some(image), Some(index), &["config", "layers"], false),
            (Some(index), Some(image), &["manifests"], false),
            (Some(image), None, &["config", "layers", "manifests"], false),
            (None, Some(index), &["manifests", "config"], false),
            (None, Some(index), &["manifests", "layers"], false),
            (Some(image), None, &["config", "layers", "fsLayers"], false),
        ] {
            let content_type = content_type.map(MediaType::parse);
            let mut document = members(names);
            if let Some(own) = own {
                document["mediaType"] = own.into();
            }
            let text = document.to_string();
            match ParsedManifest::parse(text.as_bytes(), content_type.as_ref()) {
                Ok(_) => assert!(is_clear, "{text}"),
                Err(ManifestError::Ambiguous(..)) => assert!(!is_clear, "{text}"),
                Err(error) => panic!("{text}: {error}"),
            }
        }
    }

    #[test]
    fn null_members_count_as_absent() {
        let null = Value::Null;
        let mut layer = descriptor(2);
        layer["urls"] = null.clone();
        layer["annotations"] = null.clone();
        layer["mediaType"] = null.clone();
        let document = serde_json::json!({"mediaType": null, "config": descriptor(1),
            "layers": [layer], "annotations": null, "subject": null, "artifactType": null});
        let ParsedManifest::Image(manifest) = parse(&document).unwrap() else {
            panic!("not an image");
        };
        assert_eq!(manifest.layers[0].urls, Vec::<String>::new());
        let document = serde_json::json!({"config": descriptor(1), "layers": null});
        assert!(matches!(parse(&document), Ok(ParsedManifest::Image(_))));

        let platform = |os| {
            serde_json::json!({"os": os, "architecture": "arm64",
            "variant": null, "os.version": null, "os.features": null})
        };
        let mut annotated = entry(2, null.clone());
        annotated["annotations"] = serde_json::json!({"vnd.docker.reference.type": null});
        let unknown = serde_json::json!({"os": null, "architecture": null});
        let index = index(&serde_json::json!({"manifests": [
            entry(1, platform(null.clone())), annotated, entry(3, unknown)]}));
        let platforms: Vec<Option<String>> = index
            .entries
            .iter()
            .map(|entry| entry.platform.as_ref().map(Platform::to_string))
            .collect();
        assert_eq!(platforms, [Some("linux/arm64".to_string()), None, None]);
        let empty = br#"{"manifests": null}"#;
        let parsed = ParsedManifest::parse(empty, Some(&MediaType::OciIndex));
        assert!(matches!(parsed, Ok(ParsedManifest::Index(_))));
    }

    #[test]
    fn artifacts_are_refused_by_media_type() {
        for (config, artifact, expected) in [
            (
                "application/vnd.oci.empty.v1+json",
                Some("text/x"),
                "text/x",
            ),
            (
                "application/vnd.cncf.helm.config.v1+json",
                None,
                "application/vnd.cncf.helm.config.v1+json",
            ),
            (
                "application/vnd.sylabs.sif.config.v1+json",
                None,
                "application/vnd.sylabs.sif.config.v1+json",
            ),
        ] {
            let mut document = serde_json::json!({"artifactType": artifact, "layers": []});
            document["config"] = descriptor(1);
            document["config"]["mediaType"] = config.into();
            assert_eq!(
                parse(&document).unwrap_err().to_string(),
                format!("this is not a container image but an artifact of type '{expected}'")
            );
        }
    }

    #[test]
    fn invalid_manifests_are_refused() {
        for text in [
            "",
            "<html>",
            "[]",
            "{}",
            "null",
            r#"{"layers": []}"#,
            r#"{"config": {"digest": "sha256:zz", "size": 1}, "layers": []}"#,
            r#"{"fsLayers": [], "history": []}"#,
        ] {
            assert!(
                ParsedManifest::parse(text.as_bytes(), None).is_err(),
                "{text}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(ParsedManifest::parse(deep.as_bytes(), None).is_err());
    }
}
