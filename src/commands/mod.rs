//! The subcommands, one file each: options, help, steps and output.

pub mod clone;
mod context;
pub mod create;
pub mod doctor;
mod error;
pub mod export;
pub mod gc;
pub mod images;
pub mod import;
pub mod inspect;
pub mod install;
pub mod load;
pub mod login;
pub mod logout;
pub mod manifest;
pub mod mkrepo;
pub mod name;
pub(crate) mod options;
pub mod protect;
pub mod ps;
pub mod pull;
pub mod rename;
pub mod rm;
pub mod rmi;
pub mod rmname;
pub mod run;
pub mod save;
pub mod search;
pub mod setup;
pub mod showconf;
mod streams;
pub mod tag;
pub mod verify;
pub mod version;

use clap::Subcommand;

pub use context::Context;
pub use error::{CommandError, Kind};

/// The result of a command: an exit status, or an error to report.
pub type Outcome = Result<u8, CommandError>;

/// The exit status of success.
pub const DONE: u8 = 0;

/// The subcommands. The help of each is the doc comment of its options.
#[derive(Debug, Subcommand)]
#[allow(
    missing_docs,
    reason = "a comment here would replace that of the options"
)]
pub enum Command {
    Search(search::Args),
    Pull(pull::Args),
    Images(images::Args),
    Create(create::Args),
    Ps(ps::Args),
    Run(Box<run::Args>),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Load(load::Args),
    Save(save::Args),
    Import(import::Args),
    Export(export::Args),
    Clone(clone::Args),
    Tag(tag::Args),
    Rename(rename::Args),
    Rm(rm::Args),
    Rmi(rmi::Args),
    Gc(gc::Args),
    Name(name::Args),
    Rmname(rmname::Args),
    /// Protect an image or container against removal
    Protect(protect::Args),
    /// Allow the removal of a protected image or container
    Unprotect(protect::Args),
    Manifest(manifest::Args),
    Setup(setup::Args),
    Login(login::Args),
    Logout(logout::Args),
    Mkrepo(mkrepo::Args),
    Install(install::Args),
    Doctor(doctor::Args),
    Showconf(showconf::Args),
    Version(version::Args),
}

impl Command {
    /// Whether the command may run as root without `--allow-root`, since it changes nothing.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Command::Version(_))
    }

    /// Whether the command creates a missing repository, or does not need one. The other commands
    /// would take a mistyped directory for an empty repository.
    pub fn does_without_repository(&self) -> bool {
        matches!(
            self,
            Command::Doctor(_)
                | Command::Import(_)
                | Command::Install(_)
                | Command::Load(_)
                | Command::Login(_)
                | Command::Logout(_)
                | Command::Manifest(_)
                | Command::Mkrepo(_)
                | Command::Pull(_)
                | Command::Run(_)
                | Command::Search(_)
                | Command::Showconf(_)
                | Command::Version(_)
        )
    }

    /// Runs the command.
    ///
    /// # Errors
    /// The command failed, or was called wrongly.
    pub fn run(&self, context: &Context) -> Outcome {
        match self {
            Command::Search(args) => search::run(args, context),
            Command::Pull(args) => pull::run(args, context),
            Command::Images(args) => images::run(args, context),
            Command::Create(args) => create::run(args, context),
            Command::Ps(args) => ps::run(args, context),
            Command::Run(args) => run::run(args, context),
            Command::Inspect(args) => inspect::run(args, context),
            Command::Verify(args) => verify::run(args, context),
            Command::Load(args) => load::run(args, context),
            Command::Save(args) => save::run(args, context),
            Command::Import(args) => import::run(args, context),
            Command::Export(args) => export::run(args, context),
            Command::Clone(args) => clone::run(args, context),
            Command::Tag(args) => tag::run(args, context),
            Command::Rename(args) => rename::run(args, context),
            Command::Rm(args) => rm::run(args, context),
            Command::Rmi(args) => rmi::run(args, context),
            Command::Gc(args) => gc::run(args, context),
            Command::Name(args) => name::run(args, context),
            Command::Rmname(args) => rmname::run(args, context),
            Command::Protect(args) => protect::protect(args, context),
            Command::Unprotect(args) => protect::unprotect(args, context),
            Command::Manifest(args) => manifest::run(args, context),
            Command::Setup(args) => setup::run(args, context),
            Command::Login(args) => login::run(args, context),
            Command::Logout(args) => logout::run(args, context),
            Command::Mkrepo(args) => mkrepo::run(args, context),
            Command::Install(args) => install::run(args, context),
            Command::Doctor(args) => doctor::run(args, context),
            Command::Showconf(args) => showconf::run(args, context),
            Command::Version(args) => version::run(args, context),
        }
    }
}

/// Applies `action` to each item. It continues after a failure, and fails at the end.
fn each(
    items: &[String],
    context: &Context,
    action: impl Fn(&str) -> Result<(), CommandError>,
) -> Outcome {
    let mut last = Ok(DONE);
    for item in items {
        if let Err(error) = action(item)
            && let Err(earlier) = std::mem::replace(&mut last, Err(error))
        {
            earlier.report(&context.printer);
        }
    }
    last
}
