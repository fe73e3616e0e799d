//! The content of an image in the store, in either form: its configuration and its layers.

use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::images::{Form, Image};
use crate::host::fs::read_limited;
use crate::oci::{
    CONFIG_MAX_BYTES, ChainId, ConfigSource, DiffId, Digest, ImageConfig, MANIFEST_MAX_BYTES,
    Manifest, ParsedManifest,
};

/// The file of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    /// The link inside the image's directory.
    pub path: PathBuf,
    /// The digest that the bytes must have; `None` in images of form v1.
    pub digest: Option<Digest>,
    /// The digest that the uncompressed bytes must have, if the configuration has it.
    pub diff_id: Option<DiffId>,
}

/// The content of an image.
#[derive(Clone, Debug)]
pub struct ImageContent {
    /// The configuration document as it is stored.
    pub config_bytes: Vec<u8>,
    /// The parsed configuration.
    pub config: ImageConfig,
    /// The digest of the configuration, if it is a blob of its own.
    pub config_digest: Option<Digest>,
    /// The layers, base first.
    pub layers: Vec<LayerFile>,
}

impl ImageContent {
    /// The chain id of its layers, if the configuration has the diff_ids.
    pub fn chain_id(&self) -> Option<ChainId> {
        ChainId::of_known(self.layers.iter().map(|layer| layer.diff_id.as_ref()))
    }
}

impl Image {
    /// Reads the image's metadata, and makes sure that its layers are there.
    ///
    /// # Errors
    /// `StoreError::DamagedImage` or `DamagedManifest` if a part is missing or cannot be parsed.
    pub fn content(&self) -> Result<ImageContent, StoreError> {
        match self.form() {
            Form::V1 => self.content_v1(),
            Form::V2 => self.content_v2(),
        }
    }

    /// The stored manifest of a pulled image, as the registry sent it.
    ///
    /// # Errors
    /// `StoreError::DamagedImage` if it is missing or an index; `DamagedManifest` if it cannot be
    /// parsed.
    pub fn manifest(&self) -> Result<Manifest, StoreError> {
        let path = self.directory.join("manifest");
        let bytes = read_limited(&path, MANIFEST_MAX_BYTES as u64)
            .map_err(|error| self.damaged(error.to_string()))?;
        match ParsedManifest::parse(&bytes, None) {
            Ok(ParsedManifest::Image(manifest)) => Ok(manifest),
            Ok(ParsedManifest::Index(_)) => {
                Err(self.damaged("its manifest is an index".to_string()))
            }
            Err(source) => Err(StoreError::DamagedManifest {
                image: self.name.to_string(),
                source,
            }),
        }
    }

    fn content_v2(&self) -> Result<ImageContent, StoreError> {
        let manifest = self.manifest()?;
        let (config_bytes, config_digest) = match manifest.config {
            ConfigSource::Inline(text) => (text.into_bytes(), None),
            ConfigSource::Blob(descriptor) => (
                self.read_config(&descriptor.digest.to_string())?,
                Some(descriptor.digest),
            ),
        };
        let layers = manifest
            .layers
            .into_iter()
            .map(|layer| (layer.digest.to_string(), Some(layer.digest)));
        self.assemble(config_bytes, config_digest, layers.collect())
    }

    fn content_v1(&self) -> Result<ImageContent, StoreError> {
        let ancestry = read_limited(&self.directory.join("ancestry"), CONFIG_MAX_BYTES)
            .map_err(|error| self.damaged(error.to_string()))?;
        let mut ids: Vec<String> = serde_json::from_slice(&ancestry)
            .map_err(|error| self.damaged(format!("its ancestry is not valid: {error}")))?;
        let Some(top) = ids.first() else {
            return Err(self.damaged("its ancestry is empty".to_string()));
        };
        let config_name = if self.directory.join("container.json").is_file() {
            "container.json".to_string()
        } else {
            format!("{top}.json")
        };
        let config_bytes = self.read_config(&config_name)?;
        ids.reverse();
        let layers = ids.into_iter().map(|id| (format!("{id}.layer"), None));
        self.assemble(config_bytes, None, layers.collect())
    }

    fn assemble(
        &self,
        config_bytes: Vec<u8>,
        config_digest: Option<Digest>,
        layers: Vec<(String, Option<Digest>)>,
    ) -> Result<ImageContent, StoreError> {
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|error| self.damaged(format!("its configuration is not valid: {error}")))?;
        // Only the layers of a pulled image are certain to be those of its configuration: for form
        // v1 they may have been packed again.
        let diff_ids = match &config_digest {
            Some(_) => config.diff_ids_of(layers.len()),
            None => vec![None; layers.len()],
        };
        let layers = layers
            .into_iter()
            .zip(diff_ids)
            .map(|((name, digest), diff_id)| {
                if Path::new(&name).components().count() != 1 || name.starts_with("..") {
                    return Err(self.damaged(format!("impossible layer name '{name}'")));
                }
                let path = self.directory.join(&name);
                if !path.is_file() {
                    return Err(self.damaged(format!("layer '{name}' is missing")));
                }
                Ok(LayerFile {
                    path,
                    digest,
                    diff_id,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(ImageContent {
            config_bytes,
            config,
            config_digest,
            layers,
        })
    }

    fn read_config(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        if name.contains('/') {
            return Err(self.damaged(format!("impossible configuration name '{name}'")));
        }
        read_limited(&self.directory.join(name), CONFIG_MAX_BYTES)
            .map_err(|error| self.damaged(error.to_string()))
    }

    fn damaged(&self, reason: String) -> StoreError {
        StoreError::DamagedImage {
            image: self.name.to_string(),
            reason,
        }
    }
}
