//! Archives of Docker before 1.10: `repositories` names top layers, and each layer its parent.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::ArchivedImage;
use super::contents::Contents;
use super::error::ArchiveError;

#[derive(Deserialize)]
struct LayerJson {
    #[serde(default)]
    parent: Option<String>,
}

/// Finds the images that `repositories` lists; one that has several names comes once.
pub(super) fn images(contents: &Contents) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> = contents.json("repositories")?;
    let mut names_of: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (repository, tags) in &repositories {
        for (tag, top) in tags {
            let name = format!("{repository}:{tag}");
            names_of.entry(top).or_default().push(name);
        }
    }
    names_of
        .into_iter()
        .map(|(top, names)| image(contents, top, names))
        .collect()
}

fn image(
    contents: &Contents,
    top: &str,
    names: Vec<String>,
) -> Result<ArchivedImage, ArchiveError> {
    let mut layers = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(top.to_string());
    while let Some(id) = next.filter(|id| !id.is_empty()) {
        if !seen.insert(id.clone()) {
            return Err(ArchiveError::Circle(id.escape_debug().to_string()));
        }
        layers.push(contents.part(&format!("{id}/layer.tar"))?.clone());
        let json: LayerJson = contents.json(&format!("{id}/json"))?;
        next = json.parent;
    }
    layers.reverse();
    Ok(ArchivedImage {
        names,
        // The newest layer's description is that of the image.
        config: contents.part(&format!("{top}/json"))?.clone(),
        layers,
        manifest: None,
    })
}
