//! The operating system, architecture and variant of an image.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("platform '{0}' is not of the form os/arch or os/arch/variant, as in linux/arm64/v8")]
pub struct PlatformError(String);

/// A platform in OCI (that is, Go's) spelling: `linux/amd64`, `linux/arm/v7`.
///
/// Source: OCI image-spec v1.1, "Image Index", platform object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system: `linux` for all images that this program can run.
    pub os: String,
    /// The architecture: `amd64`, `arm64`, `arm`, `386`, `ppc64le`, …
    pub architecture: String,
    /// The variant: `v7`, `v8`; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// The platform of the machine this executable was built for.
    pub fn host() -> Platform {
        Platform::linux(std::env::consts::ARCH)
    }

    /// Linux on `architecture`, in any of the usual spellings.
    pub fn linux(architecture: &str) -> Platform {
        let (architecture, variant) = normalize_architecture(architecture, "");
        Platform {
            os: "linux".to_string(),
            architecture,
            variant,
        }
    }

    /// How far an image for `offered` is from the wanted platform `self`: smaller is better, and
    /// `None` means that it does not run.
    ///
    /// A newer ARM processor runs older variants (`v7` runs `v6` and `v5`), and a missing variant
    /// means the architecture's usual one (`arm64` is `v8`, `arm` is `v7`, `amd64` is `v1`).
    pub fn distance(&self, offered: &Platform) -> Option<u32> {
        let (wanted_arch, wanted_variant) =
            normalize_architecture(&self.architecture, &self.variant);
        let (arch, variant) = normalize_architecture(&offered.architecture, &offered.variant);
        if !self.os.eq_ignore_ascii_case(&offered.os) || wanted_arch != arch {
            return None;
        }
        if wanted_variant == variant {
            return Some(0);
        }
        let wanted = variant_level(&arch, &wanted_variant)?;
        wanted.checked_sub(variant_level(&arch, &variant)?)
    }
}

fn variant_level(architecture: &str, variant: &str) -> Option<u32> {
    let usual = match architecture {
        "arm64" => 8,
        "arm" => 7,
        _ => 1,
    };
    if variant.is_empty() {
        return Some(usual);
    }
    variant.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Returns architecture and variant in Go's spelling.
fn normalize_architecture(architecture: &str, variant: &str) -> (String, String) {
    let lower = architecture.to_ascii_lowercase();
    let (architecture, implied) = match lower.as_str() {
        "x86_64" | "x86-64" => ("amd64", ""),
        "i386" | "i486" | "i586" | "i686" | "x86" => ("386", ""),
        "aarch64" => ("arm64", ""),
        "armhf" | "armv7l" | "armv7" => ("arm", "v7"),
        "armel" | "armv6l" | "armv6" => ("arm", "v6"),
        "powerpc64le" => ("ppc64le", ""),
        "loongarch64" => ("loong64", ""),
        other => (other, ""),
    };
    let variant = variant.to_ascii_lowercase();
    let variant = match (architecture, variant.as_str()) {
        ("arm64", "v8") | ("amd64", "v1") => String::new(),
        (_, "") => implied.to_string(),
        (_, digits) if digits.bytes().all(|b| b.is_ascii_digit()) => format!("v{digits}"),
        (_, other) => other.to_string(),
    };
    (architecture.to_string(), variant)
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// Parses `os/arch[/variant]`; `arch` alone means Linux. Common spellings such as `x86_64` are
    /// converted to OCI's.
    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if !parts.iter().all(is_word) {
            return Err(PlatformError(text.to_string()));
        }
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, ""),
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return Err(PlatformError(text.to_string())),
        };
        let (architecture, variant) = normalize_architecture(architecture, variant);
        Ok(Platform {
            os: os.to_ascii_lowercase(),
            architecture,
            variant,
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn common_spellings_are_converted_to_ocis() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for text in ["", "linux/", "linux/amd64/v1/x", "linux/am d64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn older_variants_match_newer_processors_only() {
        for (wanted, offered, distance) in [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/amd64", "linux/arm64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v7", "linux/arm/v5", Some(2)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v7", "linux/arm", Some(0)),
            ("linux/amd64", "linux/amd64/v3", None),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
        ] {
            assert_eq!(
                platform(wanted).distance(&platform(offered)),
                distance,
                "{wanted} {offered}"
            );
        }
    }
}
