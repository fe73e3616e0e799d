//! The context of commands.

use std::sync::Arc;

use super::CommandError;
use super::options::given;
use crate::config::{Environment, Settings, env_vars};
use crate::container::{CreateOptions, ImageTrees};
use crate::credentials::{Logins, Sources};
use crate::oci::RegistryUrl;
use crate::registry::{
    Client, ClientOptions, CredentialSource, Proxies, Trace, TrustedCertificates,
};
use crate::store::{ContainerName, KeptTrees, Store};
use crate::ui::{Printer, TerminalProgress};

/// Settings, environment, printer and store. `cli` makes them once, and each command receives them.
#[derive(Debug)]
pub struct Context {
    /// The resolved configuration.
    pub settings: Settings,
    /// The environment in which the program was started.
    pub environment: Environment,
    /// The printer for the terminal.
    pub printer: Printer,
    /// The repository.
    pub store: Store,
}

impl Context {
    /// Makes a context, and opens the store that the settings name.
    pub fn new(settings: Settings, environment: Environment, printer: Printer) -> Context {
        let store = Store::open(settings.paths.layout.clone());
        Context {
            settings,
            environment,
            printer,
            store,
        }
    }

    /// Returns a client for registries, with the user's logins. It connects at its first request.
    ///
    /// # Errors
    /// `proxy` or the configured proxy has an address that cannot be used.
    pub fn registry_client(&self, proxy: Option<&str>) -> Result<Client, CommandError> {
        self.client_with(proxy, self.credential_source())
    }

    /// As [`Context::registry_client`], with logins from `credentials`.
    ///
    /// # Errors
    /// `proxy` or the configured proxy has an address that cannot be used.
    pub fn client_with(
        &self,
        proxy: Option<&str>,
        credentials: impl CredentialSource + 'static,
    ) -> Result<Client, CommandError> {
        Client::new(self.client_options(proxy), credentials).map_err(CommandError::from)
    }

    /// Returns the options of a client, with `proxy` instead of the configured one.
    pub fn client_options(&self, proxy: Option<&str>) -> ClientOptions {
        let http = &self.settings.http;
        let variable = |name: &str| self.environment.text(name);
        let of_environment = Proxies::from_variables(variable);
        let proxies = match proxy.or(http.proxy.as_deref()) {
            Some(proxy) => of_environment.replaced_by(proxy),
            None => of_environment,
        };
        let defaults = ClientOptions::default();
        ClientOptions {
            insecure: http.insecure,
            proxies,
            trusted: TrustedCertificates {
                file: self.environment.path(env_vars::SSL_CERT_FILE),
                directory: self.environment.path(env_vars::SSL_CERT_DIR),
            },
            connect_timeout: http.connect_timeout,
            read_timeout: http.read_timeout,
            download_timeout: http.download_timeout,
            user_agent: http.agent.clone().unwrap_or(defaults.user_agent),
            retry: defaults.retry,
            trace: self.trace(),
        }
    }

    fn trace(&self) -> Option<Trace> {
        let printer = self.printer.clone();
        let trace: Trace = Arc::new(move |line| printer.debug(line));
        self.printer.is_debug().then_some(trace)
    }

    /// Returns the user's logins in the form that a client needs.
    pub fn credential_source(&self) -> impl CredentialSource + use<> {
        let logins = self.credentials();
        move |registry: &RegistryUrl, repository: &str| {
            logins.credential(registry, repository).map_err(Into::into)
        }
    }

    /// Returns the registry that an option names; without one, the configured registry.
    ///
    /// # Errors
    /// The option or the configuration names no valid registry.
    pub fn registry(&self, option: &Option<String>) -> Result<RegistryUrl, CommandError> {
        match given(option) {
            Some(url) => RegistryUrl::parse(url).map_err(CommandError::usage),
            None => Ok(self.settings.default_registry()?),
        }
    }

    /// Returns the user's logins.
    pub fn credentials(&self) -> Logins {
        let paths = &self.settings.paths;
        let variable = |name: &str| self.environment.get(name).map(ToOwned::to_owned);
        Logins::new(Sources::usual(
            paths.keystore.clone(),
            &paths.home,
            variable,
        ))
    }

    /// Returns the error for a name that belongs to neither a container nor an image.
    pub fn unknown_target(&self, text: &str) -> CommandError {
        CommandError::failed(format_args!(
            "there is neither a container nor an image '{text}' here"
        ))
        .with_hint("list them with `udocker ps` and `udocker images`")
    }

    /// Returns how to create a container, which gets `name`.
    pub fn create_options(&self, name: Option<ContainerName>) -> CreateOptions {
        CreateOptions {
            name,
            max_unpacked_bytes: self.settings.max_unpacked_bytes,
            image_trees: self.settings.image_trees,
        }
    }

    /// Returns which image trees are kept, by the settings.
    pub fn kept_trees(&self) -> KeptTrees {
        match self.settings.image_trees {
            ImageTrees::Never => KeptTrees::None,
            ImageTrees::Shared | ImageTrees::Always => KeptTrees::OfImages,
        }
    }

    /// Returns a display of progress on stderr.
    pub fn progress(&self) -> TerminalProgress<'_> {
        TerminalProgress::new(&self.printer)
    }
}
