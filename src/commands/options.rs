//! Options that several commands share.

use std::ffi::OsStr;
use std::ops::Deref;

use super::CommandError;
use crate::oci::Platform;
use crate::store::{ContainerName, StoreError};

/// Returns the value of an option; an empty one counts as none, as in udocker.py: scripts write
/// `--name="$name"` whether or not they have a name.
pub(crate) fn given<T>(option: &Option<T>) -> Option<&T::Target>
where
    T: Deref<Target: AsRef<OsStr>>,
{
    option.as_deref().filter(|value| !value.as_ref().is_empty())
}

/// The same for an option that can be repeated.
pub(super) fn given_of<T: AsRef<OsStr>>(values: &[T]) -> impl Iterator<Item = &T> {
    values.iter().filter(|value| !(*value).as_ref().is_empty())
}

/// The registry that a login is for.
#[derive(Debug, clap::Args)]
pub(super) struct RegistryArgs {
    /// The same as the argument
    #[arg(long, value_name = "URL", conflicts_with = "host")]
    registry: Option<String>,
    /// Registry, instead of Docker Hub
    #[arg(value_name = "REGISTRY")]
    host: Option<String>,
}

impl RegistryArgs {
    /// Returns the registry, if one is named.
    pub(super) fn named(&self) -> &Option<String> {
        if self.host.is_some() {
            &self.host
        } else {
            &self.registry
        }
    }
}

/// Returns the name for a new container, if one is given.
pub(super) fn container_name(
    option: &Option<String>,
) -> Result<Option<ContainerName>, CommandError> {
    let name = given(option).map(str::parse).transpose();
    name.map_err(|error| StoreError::from(error).into())
}

/// Returns the requested platform.
pub(super) fn platform(option: &Option<String>) -> Result<Option<Platform>, CommandError> {
    given(option)
        .map(|text| text.parse().map_err(CommandError::usage))
        .transpose()
}

/// Parses a truth value as Go does, and so Docker.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_string()),
    }
}
