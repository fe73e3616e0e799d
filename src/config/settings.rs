//! The resolved configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::env_vars::{self, Environment};
use super::keys::{self, DEFAULT_MODE_KEY, KEYS, Key};
use super::layer::{self, Assignment, ConfigError, FileContent, Origin};
use crate::container::ImageTrees;
use crate::oci::RegistryUrl;
use crate::registry::without_login;
use crate::spec::{DEFAULT_PATH, HostVariables, ModeChoice, SearchPaths, UnknownMode};
use crate::store::Layout;
use crate::ui::Verbosity;

/// The command-line options that override the configuration.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--repo=DIR`
    pub top: Option<PathBuf>,
    /// `--config=FILE`
    pub file: Option<PathBuf>,
    /// `--insecure`
    pub insecure: bool,
}

/// The places of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The user's home directory.
    pub home: PathBuf,
    /// The directories of the repository.
    pub layout: Layout,
    /// The keystore.
    pub keystore: PathBuf,
    /// The directory for temporary files.
    pub tmp: PathBuf,
}

/// How to reach registries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The proxy for everything, instead of those of the usual variables.
    pub proxy: Option<String>,
    /// Longest time to establish a connection.
    pub connect_timeout: Duration,
    /// Longest silence of a server.
    pub read_timeout: Duration,
    /// Longest silence of a server that is asked for a blob.
    pub download_timeout: Duration,
    /// Accept any certificate and plain http.
    pub insecure: bool,
    /// The user agent, instead of the program's own.
    pub agent: Option<String>,
}

/// One key of the resolved configuration.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'static str,
    /// Its value.
    pub value: &'a str,
    /// Where the value came from.
    pub origin: &'a Origin,
    /// Whether this program uses the key, or only udocker.py does.
    pub has_effect: bool,
}

/// The resolved configuration, with the origin of every value.
#[derive(Clone, Debug)]
pub struct Settings {
    values: Values,
    /// The places of files.
    pub paths: Paths,
    /// How to reach registries.
    pub http: Http,
    /// The default index for searches.
    pub index_url: String,
    /// The mode of containers without a mode of their own, as configured; see
    /// [`Settings::default_mode`].
    pub default_execmode: Option<String>,
    /// The search paths for commands of images that set no `PATH`.
    pub search_paths: SearchPaths,
    /// The host's variables that are passed to containers, or are not.
    pub host_variables: HostVariables,
    /// A PRoot to run instead of the embedded one.
    pub proot_executable: Option<PathBuf>,
    /// The program that mode S1 runs instead of the Apptainer or Singularity in `PATH`.
    pub apptainer_executable: Option<PathBuf>,
    /// Whether PRoot runs without seccomp in every mode.
    pub no_seccomp: bool,
    /// Whether root in user namespaces gets the id ranges that the user was granted.
    pub id_ranges: bool,
    /// Whether image trees are kept, from which containers are cloned.
    pub image_trees: ImageTrees,
    /// How much is printed on stderr.
    pub verbosity: Verbosity,
    /// The largest size to which one image may unpack; `None` if only the disk limits it.
    pub max_unpacked_bytes: Option<u64>,
    /// The configuration files that were read, in order.
    pub files: Vec<PathBuf>,
    /// Warnings for the user, for example about an unknown key.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads all sources: defaults, `/etc/udocker.conf`, `~/.udocker/udocker.conf`,
    /// `TOP/udocker.conf`, the file of `--config`, the environment, the command line. Each
    /// overrides those before.
    ///
    /// # Errors
    /// A file cannot be read or has a syntax error, a value is not valid, or there is no home
    /// directory.
    pub fn resolve(
        environment: &Environment,
        overrides: &Overrides,
    ) -> Result<Settings, ConfigError> {
        let home = environment.path(env_vars::HOME);
        let dot_udocker = home.as_ref().map(|home| home.join(".udocker"));
        let mut table = Table::default();

        let mut before_top: Vec<PathBuf> = Vec::new();
        if environment.get(env_vars::UDOCKER_NOSYSCONF).is_none() {
            before_top.push(PathBuf::from("/etc/udocker.conf"));
        }
        before_top.extend(dot_udocker.as_ref().map(|dir| dir.join("udocker.conf")));
        for path in &before_top {
            table.add_file(path)?;
        }
        let named_file = match &overrides.file {
            Some(path) => layer::load_named_file(path)?,
            None => FileContent::default(),
        };

        // The other sources can set TOP, which has a file of its own.
        let configured_top = environment
            .path(env_vars::UDOCKER_DIR)
            .or_else(|| {
                let mut assignments = named_file.assignments.iter().rev();
                let assigned = assignments.find(|assignment| assignment.key == "topdir");
                assigned.map(|assignment| PathBuf::from(&assignment.value))
            })
            .or_else(|| table.path("topdir"))
            .filter(|path| path.to_str().is_none_or(is_value));
        let top = overrides
            .top
            .clone()
            .or(configured_top)
            .or_else(|| dot_udocker.clone())
            .ok_or(ConfigError::NoHome)?;
        if Some(&top) != dot_udocker.as_ref() {
            table.add_file(&top.join("udocker.conf"))?;
        }
        if let Some(path) = &overrides.file {
            table.add_content(path, named_file);
        }
        table.add_environment(environment);
        if let Some(path) = &overrides.top {
            table.set("topdir", &path.to_string_lossy(), Origin::Flag("--repo"));
        }
        if overrides.insecure {
            table.set("http_insecure", "True", Origin::Flag("--insecure"));
        }
        table.into_settings(environment, home.unwrap_or_else(|| top.clone()), top)
    }

    /// Returns the registry for references without a host.
    ///
    /// # Errors
    /// `ConfigError::Value` if the configured text is not the address of a registry.
    pub fn default_registry(&self) -> Result<RegistryUrl, ConfigError> {
        const KEY: &str = "dockerio_registry_url";
        let text = self.values.get(KEY).map_or("", |(value, _)| value);
        RegistryUrl::parse(text).map_err(|error| bad_value(&self.values, KEY, error.to_string()))
    }

    /// Returns the mode of containers without a mode of their own; `None` lets the program choose.
    ///
    /// # Errors
    /// `ConfigError::Value` if the configured text is not a mode.
    pub fn default_mode(&self) -> Result<Option<ModeChoice>, ConfigError> {
        let choice = self.default_execmode.as_deref().map(str::parse).transpose();
        choice.map_err(|UnknownMode(_)| {
            let reason = "expected an execution mode, such as P1, or auto".to_string();
            bad_value(&self.values, DEFAULT_MODE_KEY, reason)
        })
    }

    /// Whether an index other than Docker Hub's is configured.
    pub fn index_is_replaced(&self) -> bool {
        self.values
            .get("dockerio_index_url")
            .is_some_and(|(_, origin)| *origin != Origin::Default)
    }

    /// Returns all keys with their values and origins, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.values.iter().map(|(key, (value, origin))| Entry {
            key,
            value,
            origin,
            has_effect: keys::find(key).is_some_and(|key| key.used),
        })
    }
}

/// The value of each key, and where it came from.
type Values = BTreeMap<&'static str, (String, Origin)>;

/// Collects values from the sources.
#[derive(Default)]
struct Table {
    values: Values,
    files: Vec<PathBuf>,
    unknown: BTreeSet<String>,
    warnings: Vec<String>,
}

impl Table {
    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        if let Some(content) = layer::load_file(path)? {
            self.add_content(path, content);
        }
        Ok(())
    }

    fn add_content(&mut self, path: &Path, content: FileContent) {
        self.files.push(path.to_path_buf());
        self.warnings.extend(content.warnings);
        for assignment in content.assignments {
            match keys::find(&assignment.key) {
                Some(key) => self.assign(key, &assignment.value, assignment.origin),
                None => self.warn_unknown(&assignment),
            }
        }
    }

    /// Warns of an unknown key, once, even if it is set several times.
    fn warn_unknown(&mut self, assignment: &Assignment) {
        if !self.unknown.insert(assignment.key.clone()) {
            return;
        }
        let hint = keys::nearest(&assignment.key)
            .map(|name| format!(", did you mean '{name}'?"))
            .unwrap_or_default();
        self.warnings.push(format!(
            "{}: unknown configuration key '{}'{hint}",
            assignment.origin, assignment.key
        ));
    }

    fn add_environment(&mut self, environment: &Environment) {
        for key in KEYS {
            if let Some(variable) = key.variable
                && let Some(value) = environment.text(variable)
            {
                self.assign(key, &value, Origin::Environment(variable));
            }
        }
    }

    /// Sets a key. An empty value and Python's `None` restore the default.
    fn assign(&mut self, key: &Key, value: &str, origin: Origin) {
        if is_value(value) {
            self.set(key.name, value, origin);
        } else {
            self.values.remove(key.name);
        }
    }

    fn set(&mut self, key: &'static str, value: &str, origin: Origin) {
        self.values.insert(key, (value.to_string(), origin));
    }

    /// Returns the value of `key`, if it has one.
    fn text(&self, key: &'static str) -> Option<&str> {
        let (value, _) = self.values.get(key)?;
        Some(value.as_str()).filter(|value| is_value(value))
    }

    fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    fn bad_value(&self, key: &'static str, reason: impl Into<String>) -> ConfigError {
        bad_value(&self.values, key, reason)
    }

    fn seconds(&self, key: &'static str) -> Result<Duration, ConfigError> {
        self.text(key)
            .and_then(|text| text.parse::<f64>().ok())
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| self.bad_value(key, "expected a number of seconds"))
    }

    fn yes_or_no(&self, key: &'static str) -> Result<bool, ConfigError> {
        match self.text(key) {
            Some(text) if super::is_true(text) => Ok(true),
            Some(text) if !super::is_false(text) => {
                Err(self.bad_value(key, "expected True or False"))
            }
            _ => Ok(false),
        }
    }

    fn image_trees(&self) -> Result<ImageTrees, ConfigError> {
        match self.text("image_trees") {
            Some("always") => Ok(ImageTrees::Always),
            Some(text) if super::is_true(text) => Ok(ImageTrees::Shared),
            Some(text) if !super::is_false(text) => {
                Err(self.bad_value("image_trees", "expected True, False or always"))
            }
            _ => Ok(ImageTrees::Never),
        }
    }

    /// Translates the levels of udocker.py: 0 errors, 1 results, 2 warnings, 3 notes, 5 everything.
    fn verbosity(&self) -> Result<Verbosity, ConfigError> {
        let level = self.text("verbose_level").map(str::parse::<i32>);
        match level {
            Some(Ok(..2)) => Ok(Verbosity::Quiet),
            Some(Ok(2)) => Ok(Verbosity::Warnings),
            Some(Ok(3..5)) => Ok(Verbosity::Normal),
            Some(Ok(5..)) => Ok(Verbosity::Debug),
            _ => Err(self.bad_value("verbose_level", "expected a number")),
        }
    }

    /// Reads a list of names, which may be written as a Python tuple or list.
    fn names(&self, key: &'static str) -> Vec<String> {
        let is_no_part = |c: char| c.is_whitespace() || ",()[]'\"".contains(c);
        let names = self.text(key).unwrap_or_default().split(is_no_part);
        let names = names.filter(|name| !name.is_empty());
        names.map(str::to_string).collect()
    }

    /// Reads a number of megabytes and returns it in bytes.
    fn megabytes(&self, key: &'static str) -> Result<Option<u64>, ConfigError> {
        let bytes = |text: &str| text.parse::<u64>().ok()?.checked_mul(1_000_000);
        match self.text(key) {
            None => Ok(None),
            Some(text) => match bytes(text) {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(self.bad_value(key, "expected a number of megabytes")),
            },
        }
    }

    fn into_settings(
        mut self,
        environment: &Environment,
        home: PathBuf,
        top: PathBuf,
    ) -> Result<Settings, ConfigError> {
        for key in KEYS {
            self.values
                .entry(key.name)
                .or_insert_with(|| (key.default.to_string(), Origin::Default));
        }
        let below =
            |key: &'static str, name: &str| self.path(key).unwrap_or_else(|| top.join(name));
        let layout = Layout {
            bin: below("bindir", "bin"),
            lib: below("libdir", "lib"),
            doc: below("docdir", "doc"),
            repos: below("reposdir", "repos"),
            layers: below("layersdir", "layers"),
            containers: below("containersdir", "containers"),
            top: top.clone(),
        };
        let paths = Paths {
            layout,
            // `join` leaves an absolute path as it is.
            keystore: home
                .join(".udocker")
                .join(self.path("keystore").unwrap_or_else(|| "keystore".into())),
            tmp: self
                .path("tmpdir")
                .or_else(|| environment.path(env_vars::TMPDIR))
                .unwrap_or_else(|| PathBuf::from("/tmp")),
            home,
        };
        let http = Http {
            proxy: self.text("http_proxy").map(str::to_string),
            connect_timeout: self.seconds("ctimeout")?,
            read_timeout: self.seconds("timeout")?,
            download_timeout: self.seconds("download_timeout")?,
            insecure: self.yes_or_no("http_insecure")?,
            agent: self.text("http_agent").map(str::to_string),
        };
        let shown = [
            ("topdir", &paths.layout.top),
            ("bindir", &paths.layout.bin),
            ("libdir", &paths.layout.lib),
            ("docdir", &paths.layout.doc),
            ("reposdir", &paths.layout.repos),
            ("layersdir", &paths.layout.layers),
            ("containersdir", &paths.layout.containers),
            ("homedir", &paths.home.join(".udocker")),
            ("keystore", &paths.keystore),
            ("tmpdir", &paths.tmp),
        ]
        .map(|(key, path)| (key, path.to_string_lossy().into_owned()));
        // In udocker.py, "UDOCKER" means its own executable.
        let other = |key| self.path(key).filter(|path| path.as_os_str() != "UDOCKER");
        let settings = Settings {
            index_url: self
                .text("dockerio_index_url")
                .unwrap_or_default()
                .to_string(),
            default_execmode: self.text(DEFAULT_MODE_KEY).map(str::to_string),
            search_paths: SearchPaths {
                root: self.text("root_path").unwrap_or(DEFAULT_PATH).to_string(),
                user: self.text("user_path").unwrap_or(DEFAULT_PATH).to_string(),
            },
            host_variables: HostVariables {
                always: self.names("valid_host_env"),
                never: self.names("invalid_host_env"),
            },
            proot_executable: other("use_proot_executable"),
            apptainer_executable: other("use_singularity_executable"),
            no_seccomp: self.yes_or_no("proot_noseccomp")?,
            id_ranges: self.yes_or_no("id_ranges")?,
            image_trees: self.image_trees()?,
            verbosity: self.verbosity()?,
            max_unpacked_bytes: self.megabytes("max_unpacked_mb")?,
            values: std::mem::take(&mut self.values),
            files: std::mem::take(&mut self.files),
            warnings: std::mem::take(&mut self.warnings),
            paths,
            http,
        };
        Ok(settings.with_derived_paths(shown))
    }
}

/// Whether a text is a value: neither empty nor Python's `None`.
fn is_value(text: &str) -> bool {
    !text.is_empty() && text != "None"
}

fn bad_value(values: &Values, key: &'static str, reason: impl Into<String>) -> ConfigError {
    let (value, origin) = values
        .get(key)
        .cloned()
        .unwrap_or((String::new(), Origin::Default));
    ConfigError::Value {
        key,
        // An address may contain a password.
        value: without_login(&value),
        origin,
        reason: reason.into(),
    }
}

impl Settings {
    /// Replaces empty defaults by the paths that were derived, for `showconf`.
    fn with_derived_paths(mut self, shown: [(&'static str, String); 10]) -> Settings {
        for (key, value) in shown {
            if let Some((current, _)) = self.values.get_mut(key) {
                *current = value;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)], overrides: &Overrides) -> Settings {
        let environment = Environment::from_pairs(
            pairs
                .iter()
                .copied()
                .chain([("UDOCKER_NOSYSCONF", "1"), ("HOME", "/nonexistent-home")]),
        );
        Settings::resolve(&environment, overrides).unwrap()
    }

    /// The settings with a further file, whose section `[DEFAULT]` has `text`.
    fn configured(pairs: &[(&str, &str)], text: &str) -> Settings {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("udocker.conf");
        std::fs::write(&file, format!("[DEFAULT]\n{text}\n")).unwrap();
        let overrides = Overrides {
            file: Some(file),
            ..Overrides::default()
        };
        settings(pairs, &overrides)
    }

    #[test]
    fn default_paths_are_below_the_home_directory() {
        let settings = settings(&[], &Overrides::default());
        assert_eq!(
            settings.paths.layout.top,
            Path::new("/nonexistent-home/.udocker")
        );
        assert_eq!(
            settings.paths.layout.containers,
            Path::new("/nonexistent-home/.udocker/containers")
        );
        assert_eq!(
            settings.paths.keystore,
            Path::new("/nonexistent-home/.udocker/keystore")
        );
        assert_eq!(settings.paths.tmp, Path::new("/tmp"));
        assert!(settings.default_registry().unwrap().is_docker_hub());
    }

    #[test]
    fn the_command_line_overrides_the_environment() {
        let overrides = Overrides {
            top: Some("/flag".into()),
            insecure: true,
            ..Overrides::default()
        };
        let settings = settings(
            &[
                ("UDOCKER_DIR", "/env"),
                ("UDOCKER_LAYERS", "/shared/layers"),
                ("UDOCKER_KEYSTORE", "/keys"),
                ("TMPDIR", "/scratch"),
            ],
            &overrides,
        );
        assert_eq!(settings.paths.layout.top, Path::new("/flag"));
        assert_eq!(settings.paths.layout.repos, Path::new("/flag/repos"));
        assert_eq!(settings.paths.layout.layers, Path::new("/shared/layers"));
        assert_eq!(settings.paths.keystore, Path::new("/keys"));
        assert_eq!(settings.paths.tmp, Path::new("/scratch"));
        assert!(settings.http.insecure);
        let origin = |key| {
            let entry = settings.entries().find(|entry| entry.key == key);
            entry.map(|entry| entry.origin.clone())
        };
        assert_eq!(origin("topdir"), Some(Origin::Flag("--repo")));
        assert_eq!(
            origin("layersdir"),
            Some(Origin::Environment("UDOCKER_LAYERS"))
        );
        assert_eq!(origin("timeout"), Some(Origin::Default));
    }

    #[test]
    fn files_override_each_other_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().join("home");
        let top = directory.path().join("top");
        for dir in [&home.join(".udocker"), &top] {
            std::fs::create_dir_all(dir).unwrap();
        }
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        write(
            &home.join(".udocker/udocker.conf"),
            &format!(
                "[DEFAULT]\ntopdir = {}\ntimeout = 1\nctimeout = 1\n",
                top.display()
            ),
        );
        write(
            &top.join("udocker.conf"),
            "[DEFAULT]\ntimeout = 2\nctimeout = 2\n",
        );
        let file = directory.path().join("extra.conf");
        write(&file, "[DEFAULT]\ntimeout = 3\nhtp_proxy = x\n");
        let environment =
            Environment::from_pairs([("HOME", home.to_str().unwrap()), ("UDOCKER_NOSYSCONF", "1")]);
        let overrides = Overrides {
            file: Some(file.clone()),
            ..Overrides::default()
        };
        let settings = Settings::resolve(&environment, &overrides).unwrap();
        assert_eq!(settings.paths.layout.top, top);
        assert_eq!(settings.http.read_timeout, Duration::from_secs(3));
        assert_eq!(settings.http.connect_timeout, Duration::from_secs(2));
        assert_eq!(
            settings.warnings,
            [format!(
                "{}:3: unknown configuration key 'htp_proxy', did you mean 'http_proxy'?",
                file.display()
            )]
        );
    }

    #[test]
    fn an_empty_value_and_none_are_the_default() {
        for none in ["", "None"] {
            let text = ["topdir", "timeout", "dockerio_registry_url", "image_trees"]
                .map(|key| format!("{key} = {none}\n"));
            let settings = configured(&[("UDOCKER_DIR", none)], &text.concat());
            let top = Path::new("/nonexistent-home/.udocker");
            assert_eq!(settings.paths.layout.top, top);
            assert_eq!(settings.http.read_timeout, Duration::from_secs(12));
            assert!(settings.default_registry().unwrap().is_docker_hub());
            assert_eq!(settings.image_trees, ImageTrees::Shared);
        }
    }

    #[test]
    fn names_of_variables_are_read_as_udocker_py_writes_them() {
        let variables = |text: &str| configured(&[], text).host_variables;
        assert_eq!(variables(""), HostVariables::default());
        for list in [
            "A,B_C",
            "A, B_C",
            "('A', 'B_C', )",
            "[\"A\",\"B_C\"]",
            "A\n  B_C",
        ] {
            let found = variables(&format!("valid_host_env = {list}\ninvalid_host_env = ()"));
            assert_eq!(found.always, ["A", "B_C"], "{list}");
            assert!(found.never.is_empty());
        }
    }

    #[test]
    fn default_mode_has_two_names() {
        for key in ["default_execution_mode", "override_default_execution_mode"] {
            let settings = configured(&[], &format!("{key} = P2"));
            assert_eq!(settings.default_execmode.as_deref(), Some("P2"), "{key}");
            assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
        }
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let top = tempfile::tempdir().unwrap();
        let pipe = top.path().join("udocker.conf");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let overrides = Overrides {
            top: Some(top.path().to_path_buf()),
            ..Overrides::default()
        };
        let environment =
            Environment::from_pairs([("HOME", "/nonexistent-home"), ("UDOCKER_NOSYSCONF", "1")]);
        let error = Settings::resolve(&environment, &overrides).unwrap_err();
        let beginning = format!("cannot open '{}': ", pipe.display());
        assert!(error.to_string().starts_with(&beginning), "{error}");
    }

    #[test]
    fn invalid_booleans_are_refused() {
        for (value, expected) in [
            ("True", Some(true)),
            ("yes", Some(true)),
            ("OFF", Some(false)),
            ("0", Some(false)),
            ("flase", None),
        ] {
            let environment = Environment::from_pairs([
                ("HOME", "/nonexistent-home"),
                ("UDOCKER_NOSYSCONF", "1"),
                ("UDOCKER_ID_RANGES", value),
            ]);
            let found = Settings::resolve(&environment, &Overrides::default());
            let found = found.map(|settings| settings.id_ranges);
            assert_eq!(found.ok(), expected, "{value}");
        }
    }

    #[test]
    fn an_impossible_registry_is_refused_where_it_is_needed() {
        for (value, shown) in [
            ("ftp://x", "'ftp://x'"),
            ("https://me:secret@h", "'https://…@h'"),
            ("h//hub", "'h//hub'"),
        ] {
            let settings = settings(&[("UDOCKER_REGISTRY", value)], &Overrides::default());
            let error = settings.default_registry().unwrap_err().to_string();
            let beginning = format!("UDOCKER_REGISTRY: {shown} is not a valid value for ");
            assert!(error.starts_with(&beginning), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
