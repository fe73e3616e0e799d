//! `udocker login`

use std::io;

use super::options::{RegistryArgs, given};
use super::{CommandError, Context, DONE, Outcome};
use crate::credentials::Keystore;
use crate::oci::{Credential, FoundCredential, RegistryUrl, Secret};
use crate::registry::LoginCheck;
use crate::ui;

/// Log in to a registry
///
/// Asks the registry whether it accepts the user name and password, and stores them if it does.
/// Asks for what is not given.
///
/// The keystore can be read by you alone but is not encrypted. Other users of this machine can see
/// a password on the command line while the program runs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  udocker login
  udocker login --registry=quay.io --username=marie
  udocker login --username=marie --password-stdin < token.txt")]
pub struct Args {
    /// User name
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Password or access token
    #[arg(long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

pub(super) fn run(args: &Args, context: &Context) -> Outcome {
    let registry = context.registry(args.registry.named())?;
    let username = given_or_asked(&args.username, "user name", || ui::ask("username: "))?;
    let password = given_or_asked(&args.password, "password", || {
        if args.password_stdin {
            ui::read_line()
        } else {
            ui::ask_secret("password: ")
        }
    })?;
    if looks_like_caps_lock(&password) {
        context
            .printer
            .warning("the password is all in uppercase, is Caps Lock on?");
    }
    let password = Secret::new(password);
    check(&registry, &username, &password, context)?;
    Keystore::new(context.settings.paths.keystore.clone())
        .put(&registry, &username, &password)
        .map_err(CommandError::from_error)?;
    Ok(DONE)
}

/// Returns the value of an option, else the answer to a question.
fn given_or_asked(
    option: &Option<String>,
    what: &str,
    ask: impl FnOnce() -> io::Result<String>,
) -> Result<String, CommandError> {
    let answer = match given(option) {
        Some(text) => text.to_string(),
        None => ask().map_err(|error| {
            CommandError::failed(format_args!("cannot read the {what}: {error}"))
        })?,
    };
    if answer.is_empty() {
        return Err(CommandError::failed(format_args!("no {what} is given")));
    }
    Ok(answer)
}

/// Checks a login. It is an error if the registry rejects it, or if there is none; a registry that
/// cannot be reached now may be reachable later, where the login is used.
fn check(
    registry: &RegistryUrl,
    username: &str,
    password: &Secret,
    context: &Context,
) -> Result<(), CommandError> {
    let typed = FoundCredential {
        credential: Credential::Basic {
            username: username.to_string(),
            password: password.clone(),
        },
        origin: String::new(),
    };
    let client = context.client_with(None, move |_: &RegistryUrl, _: &str| {
        Ok(Some(typed.clone()))
    })?;
    let printer = &context.printer;
    match client.check_auth(registry) {
        Ok(LoginCheck::Accepted) => printer.info(format_args!("logged in to '{registry}'")),
        Ok(LoginCheck::NotAsked) => printer.warning(format_args!(
            "'{registry}' asks for no login, so this one is stored unchecked"
        )),
        Err(error) if error.is_rejection() => {
            return Err(CommandError::from_error(error)
                .with_hint("the login is not stored; try again, perhaps with an access token"));
        }
        Err(error) if error.may_pass() => {
            printer.warning(format_args!("the login is stored unchecked: {error}"));
        }
        Err(error) => {
            return Err(CommandError::from(error).with_hint("the login is not stored"));
        }
    }
    Ok(())
}

/// Whether a password looks as if Caps Lock was on.
fn looks_like_caps_lock(password: &str) -> bool {
    password.chars().any(char::is_uppercase) && !password.chars().any(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_lock_hint_considers_letters_only() {
        for (password, expected) in [
            ("SECRET1", true),
            ("Secret", false),
            ("1234-!", false),
            ("secret", false),
        ] {
            assert_eq!(looks_like_caps_lock(password), expected, "{password}");
        }
    }
}
