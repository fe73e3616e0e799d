//! udocker pulls OCI and Docker images, keeps them in a repository in the user's home directory,
//! and runs them without privileges, through an embedded PRoot or in user namespaces.
//!
//! Data flows one way: reference → registry → store → rootfs → run spec → engine → process.
//!
//! | level | modules | what |
//! | --- | --- | --- |
//! | 4 | `cli` | the command line: parsing, dispatch, exit status |
//! | 3 | `commands`, `ui`, `config` | one file per subcommand; the terminal; settings |
//! | 2 | `image`, `container`, `diagnosis` | workflows |
//! | 1 | `registry`, `credentials`, `store`, `archive`, `rootfs`, `spec`, `engine` | one job each |
//! | 0 | `oci`, `stream`, `host`, `progress` | vocabulary and the operating system |
//!
//! Imports point to a lower level. Modules of the same level import one another on levels 0 and 3
//! alone, with two exceptions: `container` → `image` and `engine` → `spec`.
//! `tests/architecture.rs` checks this.

pub mod archive;
pub mod cli;
pub mod commands;
pub mod config;
pub mod container;
pub mod credentials;
pub mod diagnosis;
pub mod engine;
pub mod host;
pub mod image;
pub mod oci;
pub mod progress;
pub mod registry;
pub mod rootfs;
pub mod spec;
pub mod store;
pub mod stream;
pub mod ui;
