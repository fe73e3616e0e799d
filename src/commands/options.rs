//! What options of several commands have in common.

use std::ffi::OsStr;
use std::ops::Deref;

use super::CommandError;
use crate::oci::Platform;
use crate::store::{ContainerName, StoreError};

/// The value of an option; an empty one is none. Scripts write `--name="$name"` whether they have
/// a name or not, which udocker.py lets them do.
pub(crate) fn given<T>(option: &Option<T>) -> Option<&T::Target>
where
    T: Deref<Target: AsRef<OsStr>>,
{
    option.as_deref().filter(|value| !value.as_ref().is_empty())
}

/// The same for an option that may be given several times.
pub(super) fn given_of<T: AsRef<OsStr>>(values: &[T]) -> impl Iterator<Item = &T> {
    values.iter().filter(|value| !(*value).as_ref().is_empty())
}

/// The name that a container is to get, if it is.
pub(super) fn container_name(
    option: &Option<String>,
) -> Result<Option<ContainerName>, CommandError> {
    let name = given(option).map(str::parse).transpose();
    name.map_err(|error| StoreError::from(error).into())
}

/// The platform that is asked for, else this machine's.
pub(super) fn platform(option: &Option<String>) -> Result<Platform, CommandError> {
    given(option).map_or_else(
        || Ok(Platform::host()),
        |text| text.parse().map_err(CommandError::usage),
    )
}

/// Reads what Go, and so Docker, takes for a truth value.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_string()),
    }
}
