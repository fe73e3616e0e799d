//! The real udocker.py, which shares repositories and archives with this program.

use std::fs;
use std::process::{Command, Stdio};

use super::requirement::skip;
use super::sandbox::{Ran, Sandbox};

const VERSION: &str = "1.3.17";

/// udocker.py, as a module of the Python in `UDOCKER_PY`, or of `python3`.
pub struct UdockerPy {
    python: String,
}

impl UdockerPy {
    /// Finds udocker.py; skips the test otherwise.
    #[track_caller]
    pub fn find() -> Option<UdockerPy> {
        let python = std::env::var("UDOCKER_PY").unwrap_or_else(|_| "python3".to_string());
        let found = Command::new(&python)
            .args(["-c", "import udocker; print(udocker.__version__)"])
            .output()
            .is_ok_and(|output| output.stdout.trim_ascii() == VERSION.as_bytes());
        if !found {
            skip(&format!(
                "'{python}' has no udocker {VERSION}; scripts/test.sh installs one"
            ));
            return None;
        }
        Some(UdockerPy { python })
    }

    /// Runs it on the sandbox's repository.
    pub fn run(&self, sandbox: &Sandbox, args: &[&str]) -> Ran {
        // Keeps udocker.py from downloading its engines, as `udocker install` does.
        let version = sandbox.store().join("lib/VERSION");
        if !version.exists() {
            fs::create_dir_all(version.parent().expect("a file in lib")).expect("a writable store");
            fs::write(&version, "9.9.9").expect("a writable store");
        }
        let mut command = Command::new(&self.python);
        command
            .args(["-c", "from udocker.maincmd import main; main()"])
            .arg("--allow-root")
            .args(args)
            .env_clear()
            .env("HOME", sandbox.home())
            .env("TMPDIR", sandbox.path("tmp"))
            .env("UDOCKER_TMP", sandbox.path("tmp"))
            .env("UDOCKER_NOSYSCONF", "1")
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(sandbox.path(""))
            .stdin(Stdio::null());
        if let Some(path) = std::env::var_os("PYTHONPATH") {
            command.env("PYTHONPATH", path);
        }
        let output = command.output().expect("Python starts");
        Ran {
            command: format!("{command:?}"),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
