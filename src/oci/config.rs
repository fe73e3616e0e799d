//! The image configuration: the command, its environment and the diff_ids of the layers.

use std::{fmt, iter};

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::document::parse_object;
use super::{DiffId, Platform};

/// The largest configuration accepted, in bytes: the same as for manifests, as in other programs.
pub const CONFIG_MAX_BYTES: u64 = 4 << 20;

/// The members of an image configuration that this program uses.
///
/// Parsing is lenient, since images come from ten years and several builders: like udocker.py, it
/// accepts `null`, a string for a list, and lower-case names. The document itself is kept
/// unchanged; this is only a view of it. Other members are skipped, and take no memory.
///
/// Source: OCI image-spec v1.1, "Image Configuration"; Docker image specification v1.2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageConfig {
    /// The platform, if the configuration has one.
    pub platform: Option<Platform>,
    /// Digests of the uncompressed layers, base first. Empty for old images.
    pub diff_ids: Vec<DiffId>,
    /// How to start a container.
    pub process: ProcessConfig,
}

/// How to start a container: the `config` object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ProcessConfig {
    /// The environment, `K=V` each.
    #[serde(rename = "Env", alias = "env", deserialize_with = "words")]
    pub env: Vec<String>,
    /// The arguments, which the user may replace.
    #[serde(rename = "Cmd", alias = "cmd", deserialize_with = "words")]
    pub cmd: Vec<String>,
    /// The command.
    #[serde(
        rename = "Entrypoint",
        alias = "entrypoint",
        deserialize_with = "words"
    )]
    pub entrypoint: Vec<String>,
    /// The working directory; empty if the image has none.
    #[serde(rename = "WorkingDir", alias = "workingdir", deserialize_with = "text")]
    pub working_dir: String,
    /// `name`, `uid` or `uid:gid`; empty if the image has none.
    #[serde(rename = "User", alias = "user", deserialize_with = "text")]
    pub user: String,
    /// The host name, which is hardly ever set.
    #[serde(rename = "Hostname", alias = "hostname", deserialize_with = "text")]
    pub hostname: String,
    /// The ports, `80/tcp` each.
    #[serde(
        rename = "ExposedPorts",
        alias = "exposedports",
        deserialize_with = "keys"
    )]
    pub exposed_ports: Vec<String>,
    /// The mount points that the image declares.
    #[serde(rename = "Volumes", alias = "volumes", deserialize_with = "keys")]
    pub volumes: Vec<String>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default, deserialize_with = "text")]
    os: String,
    #[serde(default, deserialize_with = "text")]
    architecture: String,
    #[serde(default, deserialize_with = "text")]
    variant: String,
    #[serde(default)]
    rootfs: Option<RawRootfs>,
    #[serde(default)]
    config: Option<ProcessConfig>,
    #[serde(default)]
    container_config: Option<ProcessConfig>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<DiffId>>,
}

impl ImageConfig {
    /// Parses a configuration document.
    ///
    /// # Errors
    /// `serde_json::Error` if the document is not JSON or not an object, or a member has a wrong
    /// type.
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, serde_json::Error> {
        let raw: RawConfig = parse_object(bytes)?;
        let platform = (!raw.architecture.is_empty()).then(|| Platform {
            os: if raw.os.is_empty() {
                "linux".to_string()
            } else {
                raw.os
            },
            architecture: raw.architecture,
            variant: raw.variant,
        });
        Ok(ImageConfig {
            platform,
            diff_ids: raw
                .rootfs
                .and_then(|rootfs| rootfs.diff_ids)
                .unwrap_or_default(),
            process: raw.config.or(raw.container_config).unwrap_or_default(),
        })
    }

    /// The diff_ids of an image with so many layers. They are unknown in old images, which have
    /// none, or not one for each layer.
    pub fn diff_ids_of(&self, layers: usize) -> Vec<Option<DiffId>> {
        if self.diff_ids.len() == layers {
            self.diff_ids.iter().cloned().map(Some).collect()
        } else {
            vec![None; layers]
        }
    }

    /// The platform as udocker.py prints it: `unknown/unknown` if the configuration has none.
    pub fn platform_text(&self) -> String {
        self.platform
            .as_ref()
            .map_or_else(|| "unknown/unknown".to_string(), Platform::to_string)
    }
}

/// The most strings in a list. A program can hardly be started with more arguments or variables,
/// and each takes many times more memory than the three bytes that it may have in the document.
const STRINGS_MAX: usize = 1 << 14;

fn collect_limited<E: Error>(
    strings: impl IntoIterator<Item = Result<String, E>>,
) -> Result<Vec<String>, E> {
    let mut collected = Vec::new();
    for string in strings {
        if collected.len() == STRINGS_MAX {
            let reason = format_args!("a list of more than {STRINGS_MAX} strings");
            return Err(E::custom(reason));
        }
        collected.push(string?);
    }
    Ok(collected)
}

/// Parses a list of strings; `null` is an empty list, and a string is split at blanks.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Words;
    impl<'de> Visitor<'de> for Words {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of strings")
        }
        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
            collect_limited(text.split_whitespace().map(|word| Ok(word.to_string())))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            collect_limited(iter::from_fn(|| list.next_element().transpose()))
        }
    }
    deserializer.deserialize_any(Words)
}

/// Parses a string; `null` is an empty one, and a number is converted.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_unit<E>(self) -> Result<String, E> {
            Ok(String::new())
        }
        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_string())
        }
        fn visit_u64<E>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }
        fn visit_i64<E>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }
        fn visit_f64<E>(self, number: f64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer.deserialize_any(Text)
}

/// Parses the keys of an object, or a list of strings.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or a list of strings")
        }
        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
            let mut keys = collect_limited(iter::from_fn(|| {
                let entry = map.next_entry::<_, IgnoredAny>();
                entry.map(|entry| entry.map(|(key, _)| key)).transpose()
            }))?;
            keys.sort();
            keys.dedup();
            Ok(keys)
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            collect_limited(iter::from_fn(|| list.next_element().transpose()))
        }
    }
    deserializer.deserialize_any(Keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_configuration_is_read() {
        let config = ImageConfig::parse(
            br#"{"architecture":"amd64","os":"linux",
                 "config":{"Env":["A=b c"],"Cmd":["sh","-c",""],"Entrypoint":null,
                           "ExposedPorts":{"80/tcp":{}},"User":"1000"},
                 "rootfs":{"type":"layers","diff_ids":[]}}"#,
        )
        .unwrap();
        assert_eq!(config.platform_text(), "linux/amd64");
        assert_eq!(
            config.process,
            ProcessConfig {
                env: vec!["A=b c".to_string()],
                cmd: vec!["sh".to_string(), "-c".to_string(), String::new()],
                exposed_ports: vec!["80/tcp".to_string()],
                user: "1000".to_string(),
                ..ProcessConfig::default()
            }
        );
    }

    #[test]
    fn old_and_odd_configurations_are_read() {
        let config = ImageConfig::parse(
            br#"{"config":null,"container_config":{"Cmd":"/bin/sh -c x","User":0}}"#,
        )
        .unwrap();
        assert_eq!(config.process.cmd, ["/bin/sh", "-c", "x"]);
        assert_eq!(config.process.user, "0");
        assert_eq!(config.platform_text(), "unknown/unknown");
        let config = ImageConfig::parse(
            br#"{"os":null,"config":{"Env":null,"User":1.5,"WorkingDir":null,
                 "Volumes":{"/b":{"x":[1]},"/a":null},"ExposedPorts":["80/tcp"]}}"#,
        )
        .unwrap();
        assert_eq!(config.process.user, "1.5");
        assert_eq!(config.process.volumes, ["/a", "/b"]);
        assert_eq!(config.process.exposed_ports, ["80/tcp"]);
    }

    #[test]
    fn lists_may_not_be_too_long() {
        let strings = |count| r#""a","#.repeat(count) + r#""a""#;
        let words = "a ".repeat(STRINGS_MAX + 1);
        for config in [
            format!(r#"{{"Env":[{}]}}"#, strings(STRINGS_MAX)),
            format!(r#"{{"Volumes":[{}]}}"#, strings(STRINGS_MAX)),
            format!(
                r#"{{"Volumes":{{{}"b":0}}}}"#,
                r#""a":0,"#.repeat(STRINGS_MAX)
            ),
            format!(r#"{{"Cmd":"{words}"}}"#),
        ] {
            let document = format!(r#"{{"config":{config}}}"#);
            let error = ImageConfig::parse(document.as_bytes())
                .unwrap_err()
                .to_string();
            let expected = "a list of more than 16384 strings";
            assert!(error.starts_with(expected), "{error}");
        }
        let document = format!(r#"{{"config":{{"Env":[{}]}}}}"#, strings(STRINGS_MAX - 1));
        let config = ImageConfig::parse(document.as_bytes()).unwrap();
        assert_eq!(config.process.env.len(), STRINGS_MAX);
    }

    #[test]
    fn damaged_configurations_are_refused() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            r#"{"config":{"Env":7}}"#,
            r#"{"config":{"Env":[7]}}"#,
            r#"{"config":{"User":[]}}"#,
            r#"{"config":{"Volumes":"/a"}}"#,
        ] {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
