//! OCI layouts.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::contents::{Contents, Part};
use super::error::ArchiveError;
use super::{Allowance, ArchivedImage, ArchivedName};
use crate::oci::{
    ConfigSource, Descriptor, Digest, IndexEntry, Manifest, ParsedManifest, Platform,
};

/// How many indexes within each other are read.
const DEPTH_MAX: usize = 4;

#[derive(Deserialize)]
struct TopIndex {
    #[serde(default)]
    manifests: Vec<TopEntry>,
}

#[derive(Deserialize)]
struct TopEntry {
    digest: Digest,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    /// The whole name, from `containerd` and Docker.
    #[serde(rename = "io.containerd.image.name")]
    whole_name: Option<String>,
    /// The tag, as OCI defines; some programs write a whole name.
    #[serde(rename = "org.opencontainers.image.ref.name")]
    ref_name: Option<String>,
    /// Set for BuildKit's statements about an image, such as attestations.
    #[serde(rename = "vnd.docker.reference.type")]
    statement: Option<IgnoredAny>,
}

/// Finds the images that `index.json` lists, one for each entry. An entry that is an index itself
/// is one image for several platforms. An image with several names is returned once.
pub(super) fn images(
    contents: &Contents,
    platform: &Platform,
    allowance: &mut Allowance,
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let index: TopIndex = contents.json("index.json")?;
    let mut found: Vec<ArchivedImage> = Vec::new();
    // The positions in `found` of the entries' images.
    let mut known: BTreeMap<Digest, usize> = BTreeMap::new();
    for entry in index.manifests {
        let annotations = entry.annotations.unwrap_or_default();
        if annotations.statement.is_some() {
            continue;
        }
        let at = match known.get(&entry.digest) {
            Some(at) => *at,
            None => {
                allowance.take_image()?;
                let image = image(contents, &entry.digest, platform, allowance)?;
                let same = |other: &ArchivedImage| other.manifest == image.manifest;
                let at = found.iter().position(same).unwrap_or(found.len());
                if at == found.len() {
                    found.push(image);
                }
                known.insert(entry.digest, at);
                at
            }
        };
        let whole_name = annotations.whole_name.map(ArchivedName::Whole);
        let name =
            whole_name.or(annotations
                .ref_name
                .map(|text| match text.contains([':', '/']) {
                    true => ArchivedName::Whole(text),
                    false => ArchivedName::Tag(text),
                }));
        allowance.take_names(name.iter().len())?;
        found[at].names.extend(name);
    }
    Ok(found)
}

/// Reads the image at `digest`, which may be an index.
fn image(
    contents: &Contents,
    digest: &Digest,
    platform: &Platform,
    allowance: &mut Allowance,
) -> Result<ArchivedImage, ArchiveError> {
    let mut digest = digest.clone();
    for _ in 0..DEPTH_MAX {
        let path = blob_path(&digest);
        let parsed = ParsedManifest::parse(&contents.bytes(&path)?, None).map_err(|source| {
            ArchiveError::Manifest {
                path: path.clone(),
                source,
            }
        })?;
        match parsed {
            ParsedManifest::Image(manifest) => {
                allowance.take_layers(manifest.layers.len())?;
                return assemble(contents, &path, manifest);
            }
            ParsedManifest::Index(index) => {
                // A layout may have the images of some platforms only. The only one that it has is
                // taken whatever its platform is, as without an index.
                let is_there =
                    |entry: &&IndexEntry| contents.has(&blob_path(&entry.descriptor.digest));
                let candidates = index.candidates(platform);
                let mut any = index.entries.iter().filter(is_there);
                let best = candidates
                    .into_iter()
                    .find(is_there)
                    .or_else(|| any.next().filter(|_| any.next().is_none()))
                    .map(|entry| &entry.descriptor.digest);
                digest = best
                    .ok_or_else(|| ArchiveError::NoPlatform {
                        path,
                        wanted: platform.to_string(),
                    })?
                    .clone();
            }
        }
    }
    Err(ArchiveError::Circle(blob_path(&digest)))
}

fn assemble(
    contents: &Contents,
    path: &str,
    manifest: Manifest,
) -> Result<ArchivedImage, ArchiveError> {
    let ConfigSource::Blob(config) = manifest.config else {
        return Err(ArchiveError::Missing("a configuration".to_string()));
    };
    let blob = |descriptor: &Descriptor| -> Result<Part, ArchiveError> {
        contents.part(&blob_path(&descriptor.digest)).cloned()
    };
    Ok(ArchivedImage {
        names: Vec::new(),
        config: blob(&config)?,
        layers: manifest.layers.iter().map(blob).collect::<Result<_, _>>()?,
        manifest: Some(contents.part(path)?.clone()),
    })
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::path::Path;
    use std::sync::Arc;

    /// Builds a layout.
    struct Layout<'d> {
        directory: &'d Path,
        contents: Contents,
    }

    impl Layout<'_> {
        /// Adds a file, and returns its descriptor.
        fn add(&mut self, name: Option<&str>, bytes: &[u8]) -> Value {
            let digest = Digest::of(bytes);
            let name = name.map_or_else(|| blob_path(&digest).into(), Arc::from);
            let path = self.directory.join(digest.hex());
            std::fs::write(&path, bytes).unwrap();
            let part = Part {
                name,
                path,
                size: bytes.len() as u64,
                digest: digest.clone(),
            };
            self.contents.add_file(part).unwrap();
            json!({"digest": digest, "size": bytes.len()})
        }

        fn add_image(&mut self, architecture: &str) -> Value {
            let config = self.add(
                None,
                json!({"architecture": architecture}).to_string().as_bytes(),
            );
            let layer = self.add(None, b"layer");
            let manifest = json!({"config": config, "layers": [layer]});
            let mut entry = self.add(None, manifest.to_string().as_bytes());
            entry["platform"] = json!({"os": "linux", "architecture": architecture});
            entry
        }

        fn images(&mut self, entries: &[Value]) -> Result<Vec<ArchivedImage>, ArchiveError> {
            let index = json!({"manifests": entries});
            self.add(Some("index.json"), index.to_string().as_bytes());
            let platform = "linux/arm64".parse().unwrap();
            images(&self.contents, &platform, &mut Allowance::default())
        }
    }

    fn layout(directory: &tempfile::TempDir) -> Layout<'_> {
        Layout {
            directory: directory.path(),
            contents: Contents::default(),
        }
    }

    fn architecture(image: &ArchivedImage) -> String {
        let config: Value =
            serde_json::from_slice(&std::fs::read(&image.config.path).unwrap()).unwrap();
        config["architecture"].as_str().unwrap().to_string()
    }

    #[test]
    fn an_inner_index_is_one_image_for_the_wanted_platform() {
        let directory = tempfile::tempdir().unwrap();
        let mut layout = layout(&directory);
        let manifests = [layout.add_image("amd64"), layout.add_image("arm64")];
        let inner = json!({"manifests": manifests});
        let mut entry = layout.add(None, inner.to_string().as_bytes());
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        let found = layout.images(&[entry]).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].names, [ArchivedName::Tag("v1".to_string())]);
        assert_eq!(architecture(&found[0]), "arm64");
    }

    #[test]
    fn the_only_image_of_an_inner_index_is_taken_whatever_its_platform_is() {
        let directory = tempfile::tempdir().unwrap();
        let mut layout = layout(&directory);
        let mut absent = json!({"digest": Digest::of(b"absent"), "size": 1});
        absent["platform"] = json!({"os": "linux", "architecture": "arm64"});
        let foreign = layout.add_image("amd64");
        let other = layout.add_image("s390x");
        let mut index = |manifests: &[&Value]| {
            let inner = json!({"manifests": manifests});
            let entry = layout.add(None, inner.to_string().as_bytes());
            layout.images(&[entry])
        };
        for manifests in [&[&foreign][..], &[&absent, &foreign]] {
            let found = index(manifests).unwrap();
            assert_eq!(architecture(&found[0]), "amd64");
        }
        assert!(matches!(
            index(&[&absent, &foreign, &other]),
            Err(ArchiveError::NoPlatform { .. })
        ));
    }

    #[test]
    fn whole_names_come_before_tags_and_statements_are_no_images() {
        let directory = tempfile::tempdir().unwrap();
        let mut layout = layout(&directory);
        let mut whole = layout.add_image("arm64");
        whole["annotations"] = json!({
            "io.containerd.image.name": "docker.io/lab/tool:1",
            "org.opencontainers.image.ref.name": "1",
        });
        let mut second = whole.clone();
        second["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let mut statement = whole.clone();
        statement["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
        let found = layout.images(&[whole, second, statement]).unwrap();
        assert_eq!(found.len(), 1);
        let whole = ArchivedName::Whole("docker.io/lab/tool:1".to_string());
        assert_eq!(
            found[0].names,
            [whole, ArchivedName::Tag("latest".to_string())]
        );
    }

    #[test]
    fn indexes_that_contain_each_other_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut layout = layout(&directory);
        let mut entry = layout.add(None, br#"{"manifests":[]}"#);
        for _ in 0..=DEPTH_MAX {
            let index = json!({"manifests": [entry]});
            entry = layout.add(None, index.to_string().as_bytes());
        }
        assert!(matches!(
            layout.images(&[entry]),
            Err(ArchiveError::Circle(_))
        ));
    }
}
