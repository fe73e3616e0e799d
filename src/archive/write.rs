//! Writing an archive in the form of `docker save`.
//!
//! ```text
//! manifest.json        the images with their names, configurations and layers
//! repositories         the same for readers from before 2016, and for udocker.py
//! <digest>.json        the configuration of an image
//! <id>/layer.tar       a layer, compressed where it is stored compressed
//! <id>/json, VERSION   its description for old readers
//! ```
//! As in Docker's own archives, `<id>` identifies a layer together with all layers below it, since
//! a `json` has one parent. A layer that occurs again is a hard link to the first one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::ArchiveError;
use crate::host::fs::FsError;
use crate::oci::{Digest, LocalName};
use crate::stream::{TarAttributes, TarKind, TarWriter};

/// An image to be written.
#[derive(Clone, Debug)]
pub struct SavedImage {
    /// Its name, if other programs would accept it.
    pub name: Option<LocalName>,
    /// Its configuration, with the digests of all layers.
    pub config: Vec<u8>,
    /// Its layers, base first.
    pub layers: Vec<SavedLayer>,
}

/// A layer to be written.
#[derive(Clone, Debug)]
pub struct SavedLayer {
    /// Identifies its content.
    pub id: String,
    /// The path of its file.
    pub path: PathBuf,
}

/// Writes an archive of `images`, and returns `out`.
///
/// # Errors
/// `ArchiveError::Fs` if a layer cannot be read; `Write` if `out` cannot be written.
pub fn write_archive<W: Write>(images: &[SavedImage], out: W) -> Result<W, ArchiveError> {
    let plan = Plan::of(images);
    let mut writer = TarWriter::new(out);
    let attributes = TarAttributes {
        mode: 0o644,
        ..TarAttributes::default()
    };
    for (path, bytes) in &plan.documents {
        writer
            .small_file(path.as_bytes(), &attributes, bytes)
            .map_err(ArchiveError::Write)?;
    }
    for layer in &plan.layers {
        write_layer(&mut writer, layer, &attributes)?;
    }
    writer.finish().map_err(ArchiveError::Write)
}

fn write_layer<W: Write>(
    writer: &mut TarWriter<W>,
    layer: &PlannedLayer<'_>,
    attributes: &TarAttributes,
) -> Result<(), ArchiveError> {
    let directory = TarAttributes {
        mode: 0o755,
        ..TarAttributes::default()
    };
    let path = |name: &str| format!("{}/{name}", layer.id).into_bytes();
    let mut write_small = || -> io::Result<()> {
        writer.member(&path(""), TarKind::Directory, &directory)?;
        writer.small_file(&path("VERSION"), attributes, b"1.0")?;
        writer.small_file(&path("json"), attributes, &layer.json)
    };
    write_small().map_err(ArchiveError::Write)?;
    let source = match &layer.content {
        Content::File(source) => source,
        Content::SameAs(other) => {
            let target = format!("{other}/layer.tar").into_bytes();
            return writer
                .member(&path("layer.tar"), TarKind::HardLink(&target), attributes)
                .map_err(ArchiveError::Write);
        }
    };
    let mut file = File::open(source).map_err(FsError::at("open", source))?;
    let size = file
        .metadata()
        .map_err(FsError::at("examine", source))?
        .len();
    writer
        .member(&path("layer.tar"), TarKind::File(size), attributes)
        .map_err(ArchiveError::Write)?;
    writer
        .content(&mut file, size)
        .map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FsError::at("read", source)(error).into(),
            _ => ArchiveError::Write(error),
        })
}

/// The contents of an archive, in the order in which they are written.
struct Plan<'i> {
    documents: Vec<(String, Vec<u8>)>,
    layers: Vec<PlannedLayer<'i>>,
}

struct PlannedLayer<'i> {
    id: String,
    json: Vec<u8>,
    content: Content<'i>,
}

#[derive(Debug, PartialEq, Eq)]
enum Content<'i> {
    File(&'i PathBuf),
    /// The same as the layer in the directory of this id.
    SameAs(String),
}

impl<'i> Plan<'i> {
    fn of(images: &'i [SavedImage]) -> Plan<'i> {
        let mut manifest: Vec<Value> = Vec::new();
        let mut repositories: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        let mut configs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut layers = Vec::new();
        // The id with the first layer of each content, and the ids that are planned already.
        let mut places: BTreeMap<&str, String> = BTreeMap::new();
        let mut written: BTreeSet<String> = BTreeSet::new();
        for image in images {
            let config_name = format!("{}.json", Digest::of(&image.config).hex());
            let mut parent: Option<String> = None;
            let mut paths: Vec<String> = Vec::new();
            for (index, layer) in image.layers.iter().enumerate() {
                // The top layer has the configuration, so it cannot be the layer of another image.
                let top = (index + 1 == image.layers.len()).then_some(&image.config);
                let id = chain_id(parent.as_deref(), &layer.id, top);
                let content = match places.get(&layer.id[..]) {
                    None => Content::File(&layer.path),
                    Some(place) => Content::SameAs(place.clone()),
                };
                let place = places.entry(&layer.id).or_insert_with(|| id.clone());
                paths.push(format!("{place}/layer.tar"));
                if written.insert(id.clone()) {
                    layers.push(PlannedLayer {
                        json: layer_json(&id, parent.as_deref(), top),
                        id: id.clone(),
                        content,
                    });
                }
                parent = Some(id);
            }
            let tags = image.name.as_ref().map(|name| vec![name.to_string()]);
            // One image under two names is one entry with both.
            let same = manifest.iter_mut().find(|item| {
                item["Config"] == config_name.as_str() && item["Layers"] == json!(paths)
            });
            match same.and_then(|item| item["RepoTags"].as_array_mut()) {
                Some(known) => known.extend(tags.into_iter().flatten().map(Value::from)),
                None => manifest.push(json!({
                    "Config": config_name,
                    "RepoTags": tags,
                    "Layers": paths,
                })),
            }
            configs.insert(config_name, image.config.clone());
            if let (Some(name), Some(top)) = (&image.name, parent) {
                let tags = repositories.entry(&name.repository).or_default();
                tags.insert(&name.tag, top);
            }
        }
        let mut documents = vec![
            (
                "manifest.json".to_string(),
                json!(manifest).to_string().into_bytes(),
            ),
            (
                "repositories".to_string(),
                json!(repositories).to_string().into_bytes(),
            ),
        ];
        documents.extend(configs);
        Plan { documents, layers }
    }
}

/// The id of a layer with all layers below it: 64 hexadecimal digits, as Docker's first images had.
fn chain_id(parent: Option<&str>, content: &str, top: Option<&Vec<u8>>) -> String {
    let config = top.map(|config| Digest::of(config).to_string());
    let text = format!(
        "{}\n{content}\n{}",
        parent.unwrap_or_default(),
        config.unwrap_or_default()
    );
    Digest::of(text.as_bytes()).hex().to_string()
}

/// Source: Docker image specification v1.0, "Image JSON Description".
fn layer_json(id: &str, parent: Option<&str>, config: Option<&Vec<u8>>) -> Vec<u8> {
    let image: ImageJson<'_> = config
        .and_then(|config| serde_json::from_slice(config).ok())
        .unwrap_or_default();
    let mut layer = BTreeMap::from([
        ("created", Member::Text("1970-01-01T00:00:00Z")),
        ("id", Member::Text(id)),
    ]);
    layer.extend(parent.map(|parent| ("parent", Member::Text(parent))));
    let of_image = [
        ("architecture", image.architecture),
        ("config", image.config),
        ("created", image.created),
        ("os", image.os),
        ("variant", image.variant),
    ];
    let known = of_image.into_iter();
    layer.extend(known.filter_map(|(name, value)| Some((name, Member::Json(value?)))));
    serde_json::to_vec(&layer).expect("texts, and what was JSON before, are JSON")
}

/// The members of an image's configuration that its top layer's `json` repeats.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ImageJson<'a> {
    #[serde(borrow)]
    architecture: Option<&'a RawValue>,
    #[serde(borrow)]
    config: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    os: Option<&'a RawValue>,
    #[serde(borrow)]
    variant: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Member<'a> {
    Text(&'a str),
    Json(&'a RawValue),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, layers: &[&str]) -> SavedImage {
        SavedImage {
            name: LocalName::parse_lenient(name),
            config: br#"{"os":"linux"}"#.to_vec(),
            layers: layers
                .iter()
                .map(|id| SavedLayer {
                    id: id.to_string(),
                    path: PathBuf::from(id),
                })
                .collect(),
        }
    }

    fn manifest(plan: &Plan<'_>) -> Value {
        serde_json::from_slice(&plan.documents[0].1).unwrap()
    }

    #[test]
    fn blobs_are_written_once_and_layers_name_their_parents() {
        let images = [
            image("a:1", &["base", "x", "base"]),
            image("b:1", &["base", "y"]),
        ];
        let plan = Plan::of(&images);
        let files: Vec<bool> = plan
            .layers
            .iter()
            .map(|layer| matches!(layer.content, Content::File(_)))
            .collect();
        // base, x, base again as the top of `a`, y; the base of `b` is that of `a`.
        assert_eq!(files, [true, true, false, true]);
        let manifest = manifest(&plan);
        let base = format!("{}/layer.tar", plan.layers[0].id);
        assert_eq!(manifest[0]["Layers"][0], base.as_str());
        assert_eq!(manifest[0]["Layers"][2], base.as_str());
        assert_eq!(manifest[1]["Layers"][0], base.as_str());
        for (layer, parent) in [(1, 0), (2, 1), (3, 0)] {
            let json: Value = serde_json::from_slice(&plan.layers[layer].json).unwrap();
            assert_eq!(json["parent"], plan.layers[parent].id.as_str());
        }
    }

    #[test]
    fn names_of_one_image_share_an_entry() {
        let images = [image("a:1", &["base"]), image("a:2", &["base"])];
        let plan = Plan::of(&images);
        let manifest = manifest(&plan);
        assert_eq!(manifest.as_array().unwrap().len(), 1);
        assert_eq!(manifest[0]["RepoTags"], json!(["a:1", "a:2"]));
        assert_eq!(plan.layers.len(), 1);
    }
}
