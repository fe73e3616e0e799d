//! Archives with a `manifest.json`.

use serde::Deserialize;

use super::contents::{Contents, Part};
use super::error::ArchiveError;
use super::{Allowance, ArchivedImage};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the images that `manifest.json` lists.
pub(super) fn images(
    contents: &Contents,
    allowance: &mut Allowance,
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let items: Vec<Item> = contents.json("manifest.json")?;
    items
        .into_iter()
        .map(|item| {
            let layers = item.layers.unwrap_or_default();
            allowance.take_image()?;
            allowance.take_layers(layers.len())?;
            let layers = layers.iter().map(|path| contents.part(path).cloned());
            Ok(ArchivedImage {
                names: item.repo_tags.unwrap_or_default(),
                config: contents.part(&item.config)?.clone(),
                layers: layers.collect::<Result<Vec<Part>, _>>()?,
                manifest: None,
            })
        })
        .collect()
}
