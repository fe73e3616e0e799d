//! What a release consists of, as users install it.

use std::path::Path;

use crate::place::Place;
use crate::support::requirement::has_tools;

#[test]
fn release_archive_and_wheel_install_and_run() {
    if !has_tools(&["python3", "tar"]) {
        return;
    }
    let Some(place) = Place::new() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/package.sh");
    place
        .bash(&format!(
            "{} \"$(command -v udocker)\" packages",
            script.display()
        ))
        .succeeds();

    let version = place.bash("udocker --version").succeeds();
    let same = |script: &str| place.bash(script).succeeds().prints(version.text());
    same("tar -xf packages/udocker-*.tar.gz; udocker/udocker --version");
    same("udocker/udocker.py --version");
    // As scripts start the Python program; ignored signals are those of the caller then too.
    same("cd udocker; python3 ./udocker --version");
    same("python3 udocker/udocker.py --version");
    let run = "udocker/udocker -q run --rm lab/busybox:1 grep SigIgn /proc/self/status";
    let direct = place.bash(run).succeeds();
    let started = place.bash(&format!("python3 {run}")).succeeds();
    started.prints(direct.text());
    let year = "import zipfile; \
        print(zipfile.ZipFile('udocker/udocker').infolist()[0].date_time[0])";
    let year = place.bash(&format!("python3 -c \"{year}\"")).succeeds();
    year.prints("1980");
    place
        .bash("cd udocker/proot; test -s SOURCE -a -s COPYING -a -d patches")
        .succeeds();

    let install = "python3 -m venv venv; venv/bin/pip install --quiet --no-index packages/*.whl";
    place.bash(install).succeeds();
    same("venv/bin/udocker --version");
    same("venv/bin/python3 venv/bin/udocker --version");
    same("venv/bin/udocker.py --version");
    same("ln -s ../venv/bin/udocker.py bin/my.py; bin/my.py --version");
    same("venv/bin/python3 -m udocker.maincmd --version");
    let run = "['udocker', '-q', 'run', '--rm', 'lab/busybox:1', 'sh', '-c', 'exit 3']";
    place
        .bash(&format!(
            "venv/bin/python3 -c \"import sys; from udocker.umain import UMain; sys.exit(UMain({run}).execute())\""
        ))
        .exits_with(3);
    // A Python program in the same directory, which Python searches first.
    let program = "from udocker.umain import UMain; UMain(['udocker', '--version']).execute()";
    place.sandbox.write("venv/bin/other", program);
    same("venv/bin/python3 venv/bin/other pull");
    place
        .bash("venv/bin/pip uninstall --quiet --yes udocker; test ! -e venv/bin/udocker")
        .succeeds();
}
