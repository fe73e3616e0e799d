//! The operating system, behind a narrow interface.

pub mod facts;
pub mod file_system;
pub mod fs;
pub mod memory;
pub mod new_file;
pub mod process;
pub mod space;
pub mod unique;
