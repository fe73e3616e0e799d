//! Reading a layer without unpacking it.

use super::apply::next_entry;
use super::error::{RootfsError, Stop};
use super::pipeline::{self, ReadAhead};
use super::plan::plan;
use super::tar::{Members, Source};
use super::{ApplyOptions, Layer};
use crate::oci::{Algorithm, DiffId};
use crate::progress::Progress;

/// The result of checking a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The digest of its uncompressed bytes, if one was computed.
    pub diff_id: Option<DiffId>,
    /// The number of its entries.
    pub entries: u64,
}

/// Reads a layer to its end, and refuses what [`super::apply_layers`] would refuse in it, except
/// directories without entries beyond the limit of entries. For a layer without a diff_id, one is computed with `algorithm`, if that is given.
///
/// # Errors
/// The layer cannot be read, is no archive, has another digest than its diff_id, has too many
/// entries, or holds an entry that is refused.
pub fn check_layer(
    layer: Layer<'_>,
    algorithm: Option<Algorithm>,
    progress: &dyn Progress,
) -> Result<Checked, RootfsError> {
    let name = layer.name.clone();
    let task = progress.begin(&format!("checking {name}"), layer.size);
    std::thread::scope(|scope| {
        let layers = std::iter::once((layer, task));
        let pieces = pipeline::start(scope, layers, ReadAhead::beside_others(algorithm));
        let mut source = Source::new(&pieces);
        source.next_layer();
        read_through(&mut source).map_err(|stop| stop.in_layer(&name))
    })
}

fn read_through(source: &mut Source<'_>) -> Result<Checked, Stop> {
    let limit = ApplyOptions::default().max_entries;
    let mut entries = 0;
    let mut members = Members::new(source);
    while let Some(entry) = next_entry(&mut members)? {
        if let Err(error) = plan(&entry.path) {
            return Err(Stop::Entry(entry.path.as_bytes().to_vec(), error));
        }
        entries += 1;
        if entries > limit {
            return Err(Stop::Limit(limit, "entries"));
        }
    }
    source.drain()?;
    Ok(Checked {
        diff_id: source.diff_id(),
        entries,
    })
}
