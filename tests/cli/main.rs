//! Each command as a shell sees it, in a file or directory of the command's name: status, standard
//! output and standard error of the executable, and what it leaves in the repository.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary has no readers of its documentation, and may panic anywhere"
)]

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod clone;
mod create;
mod doctor;
mod executable;
mod export;
mod gc;
mod images;
mod import;
mod inspect;
mod install;
mod load;
mod login;
mod logout;
mod manifest;
mod mkrepo;
mod name;
mod protect;
mod ps;
mod pull;
mod rename;
mod rm;
mod rmi;
mod rmname;
mod run;
mod save;
mod search;
mod setup;
mod showconf;
mod tag;
mod verify;
mod version;
