//! The configuration keys, with the names that udocker.py gives them.

use super::env_vars;
use crate::spec::{ALWAYS_PASSED, DEFAULT_PATH, NEVER_PASSED};

/// One configuration key.
#[derive(Debug)]
pub(super) struct Key {
    /// The name in configuration files.
    pub(super) name: &'static str,
    /// The environment variable that overrides the files, if there is one.
    pub(super) variable: Option<&'static str>,
    /// The default value; empty means none.
    pub(super) default: &'static str,
    /// Whether this program uses the key. Keys that only udocker.py uses are accepted and shown,
    /// but have no effect.
    pub(super) used: bool,
}

const fn key(
    name: &'static str,
    variable: Option<&'static str>,
    default: &'static str,
    used: bool,
) -> Key {
    Key {
        name,
        variable,
        default,
        used,
    }
}

/// The key of the mode of containers without a mode of their own.
pub(super) const DEFAULT_MODE_KEY: &str = "override_default_execution_mode";

/// All keys, sorted by name.
pub(super) const KEYS: &[Key] = &[
    key("access_files", None, "", false),
    key("autoinstall", None, "True", false),
    key("bindir", Some("UDOCKER_BIN"), "", true),
    key("cmd", None, "", false),
    key("config", None, "udocker.conf", false),
    key("containersdir", Some("UDOCKER_CONTAINERS"), "", true),
    key("cpu_affinity_exec_tools", None, "", false),
    key("ctimeout", None, "6", true),
    key("default_execution_modes", None, "", false),
    key("docdir", Some("UDOCKER_DOC"), "", true),
    key("docker_registries", None, "", false),
    key(
        "dockerio_index_url",
        Some("UDOCKER_INDEX"),
        "https://hub.docker.com",
        true,
    ),
    key(
        "dockerio_registry_url",
        Some("UDOCKER_REGISTRY"),
        "https://registry-1.docker.io",
        true,
    ),
    key("download_timeout", None, "1800", true),
    key("dri_list", None, "", false),
    key(
        "fakechroot_cmd_subst",
        Some("UDOCKER_FAKECHROOT_CMD_SUBST"),
        "",
        false,
    ),
    key(
        "fakechroot_expand_symlinks",
        Some("UDOCKER_FAKECHROOT_EXPAND_SYMLINKS"),
        "",
        false,
    ),
    key(
        "fakechroot_libc",
        Some("UDOCKER_FAKECHROOT_LIBC"),
        "",
        false,
    ),
    key("fakechroot_so", Some("UDOCKER_FAKECHROOT_SO"), "", false),
    key("homedir", None, "", false),
    key("hostauth_list", None, "", false),
    key("http_agent", None, "", true),
    key("http_insecure", None, "False", true),
    key("http_proxy", None, "", true),
    // Not a key of udocker.py.
    key("id_ranges", Some(env_vars::UDOCKER_ID_RANGES), "True", true),
    // Not a key of udocker.py.
    key(
        "image_trees",
        Some(env_vars::UDOCKER_IMAGE_TREES),
        "True",
        true,
    ),
    key("installinfo", None, "", false),
    key("installretry", None, "3", false),
    key("invalid_host_env", None, NEVER_PASSED, true),
    key("keystore", Some("UDOCKER_KEYSTORE"), "keystore", true),
    key("layersdir", Some("UDOCKER_LAYERS"), "", true),
    key("ld_so_cache", None, "", false),
    key("lib_dirs_list_append", None, "", false),
    key("lib_dirs_list_essential", None, "", false),
    key("lib_dirs_list_nvidia", None, "", false),
    key("libc_search", None, "", false),
    key("libdir", Some("UDOCKER_LIB"), "", true),
    key("location", None, "", false),
    // Not a key of udocker.py, which ignores it.
    key(
        "max_unpacked_mb",
        Some(env_vars::UDOCKER_MAX_UNPACKED_MB),
        "",
        true,
    ),
    key("mountpoint_prefixes", None, "", false),
    key("nvi_bin_list", None, "", false),
    key("nvi_dev_list", None, "", false),
    key("nvi_etc_list", None, "", false),
    key("nvi_lib_list", None, "", false),
    key(
        DEFAULT_MODE_KEY,
        Some("UDOCKER_DEFAULT_EXECUTION_MODE"),
        "",
        true,
    ),
    key("proot_killonexit", None, "True", false),
    key("proot_link2symlink", None, "False", false),
    key("proot_noseccomp", None, "", true),
    key("reposdir", Some("UDOCKER_REPOS"), "", true),
    key("root_path", None, DEFAULT_PATH, true),
    key("runc_capabilities", None, "", false),
    key("runc_nomqueue", None, "", false),
    key("singularity_options", None, "", false),
    key("sysdirs_list", None, "", false),
    key("tarball", Some("UDOCKER_TARBALL"), "", false),
    key("tarball_release", None, "", false),
    key("timeout", None, "12", true),
    key("tmpdir", Some("UDOCKER_TMP"), "", true),
    key("topdir", Some("UDOCKER_DIR"), "", true),
    key(
        "use_curl_executable",
        Some("UDOCKER_USE_CURL_EXECUTABLE"),
        "",
        false,
    ),
    key(
        "use_patchelf_executable",
        Some("UDOCKER_USE_PATCHELF_EXECUTABLE"),
        "",
        false,
    ),
    key(
        "use_proot_executable",
        Some("UDOCKER_USE_PROOT_EXECUTABLE"),
        "",
        true,
    ),
    key(
        "use_runc_executable",
        Some("UDOCKER_USE_RUNC_EXECUTABLE"),
        "",
        false,
    ),
    key(
        "use_singularity_executable",
        Some("UDOCKER_USE_SINGULARITY_EXECUTABLE"),
        "",
        true,
    ),
    key("user_path", None, DEFAULT_PATH, true),
    key("valid_host_env", None, ALWAYS_PASSED, true),
    key("verbose_level", Some("UDOCKER_LOGLEVEL"), "3", true),
];

/// Finds a key by name, also by the one that the manual of udocker.py gives the default mode.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    let name = match name {
        "default_execution_mode" => DEFAULT_MODE_KEY,
        name => name,
    };
    KEYS.iter().find(|key| key.name == name)
}

/// Returns the key most similar to `name` of those that have an effect, if one is similar enough to
/// be meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .filter(|key| key.used)
        .map(|key| (strsim::jaro_winkler(name, key.name), key.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_unique() {
        assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn misspelt_key_gets_a_suggestion() {
        assert_eq!(nearest("dockerio_registry"), Some("dockerio_registry_url"));
        assert_eq!(nearest("htp_proxy"), Some("http_proxy"));
        assert_eq!(nearest("zzz"), None);
        // There is a key of this name, but it has no effect.
        assert_eq!(nearest("libc_searches"), None);
    }
}
