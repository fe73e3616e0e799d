//! Workflows on images, such as pull, load and verify, without the terminal.

mod downloads;
mod error;
mod import;
mod load;
mod name;
mod pull;
mod save;
mod tee;
mod verify;

pub use downloads::{DownloadReader, Downloads, PendingContent};
pub use error::ImageError;
pub use import::{ImportSource, import, imported_config};
pub use load::{LoadSource, load};
pub use name::{NewName, NewNameError};
pub use pull::{PullRequest, pull};
pub use save::save;
pub use verify::{VerifyReport, verify};
