//! Archives of `docker save`, with a `manifest.json`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::contents::{Contents, Part};
use super::error::ArchiveError;
use super::{Allowance, ArchivedImage, ArchivedName};

const MANIFEST: &str = "manifest.json";

/// An image in `manifest.json`. The items of its lists are parsed after they have been counted.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'a> {
    config: String,
    #[serde(default, borrow)]
    repo_tags: Option<Vec<&'a RawValue>>,
    #[serde(default, borrow)]
    layers: Option<Vec<&'a RawValue>>,
}

/// Finds the images that `manifest.json` lists.
pub(super) fn images(
    contents: &Contents,
    allowance: &mut Allowance,
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let bytes = contents.bytes(MANIFEST)?;
    let items: Vec<Item<'_>> =
        serde_json::from_slice(&bytes).map_err(ArchiveError::invalid(MANIFEST))?;
    items
        .into_iter()
        .map(|item| {
            let layers = item.layers.unwrap_or_default();
            let names = item.repo_tags.unwrap_or_default();
            allowance.take_image()?;
            allowance.take_layers(layers.len())?;
            allowance.take_names(names.len())?;
            let layers = layers
                .into_iter()
                .map(|layer| contents.part(&text(layer)?).cloned());
            let names = names
                .into_iter()
                .map(|name| text(name).map(ArchivedName::Whole));
            Ok(ArchivedImage {
                names: names.collect::<Result<_, _>>()?,
                config: contents.part(&item.config)?.clone(),
                layers: layers.collect::<Result<Vec<Part>, _>>()?,
                manifest: None,
            })
        })
        .collect()
}

fn text(json: &RawValue) -> Result<String, ArchiveError> {
    serde_json::from_str(json.get()).map_err(ArchiveError::invalid(MANIFEST))
}
