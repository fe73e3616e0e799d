//! The operating system, behind a narrow interface.

pub mod facts;
pub mod fs;
pub mod process;
pub mod space;
