//! The operating system, behind a narrow interface.

pub mod facts;
pub mod fs;
pub mod new_file;
pub mod process;
pub mod space;
