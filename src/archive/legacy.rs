//! Archives of Docker before 1.10: `repositories` has the top layers, and each layer has its
//! parent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::contents::Contents;
use super::error::ArchiveError;
use super::{Allowance, ArchivedImage, ArchivedName};
use crate::oci::RawObject;

const REPOSITORIES: &str = "repositories";

#[derive(Deserialize)]
struct LayerJson {
    #[serde(default)]
    parent: Option<String>,
}

/// Finds the images that `repositories` lists. An image with several names is returned once.
pub(super) fn images(
    contents: &Contents,
    allowance: &mut Allowance,
) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let bytes = contents.bytes(REPOSITORIES)?;
    let invalid = ArchiveError::invalid(REPOSITORIES);
    let repositories: RawObject<'_> = serde_json::from_slice(&bytes).map_err(&invalid)?;
    let mut names_of: BTreeMap<String, Vec<ArchivedName>> = BTreeMap::new();
    for (repository, tags) in repositories {
        let tags: RawObject<'_> = serde_json::from_str(tags.get()).map_err(&invalid)?;
        for (tag, top) in tags {
            allowance.take_names(1)?;
            let top = serde_json::from_str(top.get()).map_err(&invalid)?;
            let name = ArchivedName::Whole(format!("{repository}:{tag}"));
            names_of.entry(top).or_default().push(name);
        }
    }
    names_of
        .into_iter()
        .map(|(top, names)| {
            allowance.take_image()?;
            image(contents, &top, names, allowance)
        })
        .collect()
}

fn image(
    contents: &Contents,
    top: &str,
    names: Vec<ArchivedName>,
    allowance: &mut Allowance,
) -> Result<ArchivedImage, ArchiveError> {
    let mut layers = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(top.to_string());
    while let Some(id) = next.filter(|id| !id.is_empty()) {
        if !seen.insert(id.clone()) {
            return Err(ArchiveError::Circle(id.escape_debug().to_string()));
        }
        allowance.take_layers(1)?;
        layers.push(contents.part(&format!("{id}/layer.tar"))?.clone());
        let json: LayerJson = contents.json(&format!("{id}/json"))?;
        next = json.parent;
    }
    layers.reverse();
    Ok(ArchivedImage {
        names,
        // The description of the top layer is the image's configuration.
        config: contents.part(&format!("{top}/json"))?.clone(),
        layers,
        manifest: None,
    })
}
