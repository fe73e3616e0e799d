//! udocker: pulls OCI and Docker images, keeps them in a repository below the user's home, and
//! runs them without privilege through an embedded PRoot or in user namespaces.
//!
//! Data flows one way: reference → registry → store → rootfs → run spec → engine → process.
//!
//! | level | modules | what |
//! | --- | --- | --- |
//! | 4 | `cli` | the program as a shell sees it |
//! | 3 | `commands`, `ui`, `config` | one file per subcommand; the terminal; settings |
//! | 2 | `image`, `container`, `diagnosis` | workflows |
//! | 1 | `registry`, `credentials`, `store`, `archive`, `rootfs`, `spec`, `engine` | one job each, unaware of each other |
//! | 0 | `oci`, `stream`, `host`, `progress` | vocabulary and the operating system |
//!
//! Imports point down, never up or sideways on level 1 (`engine` → `spec` is the one exception);
//! `tests/architecture.rs` holds that.

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
