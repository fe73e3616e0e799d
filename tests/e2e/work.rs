//! Real work in the distribution's container.

use crate::support::prepared::Distro;
use crate::support::requirement::skip;
use crate::support::sandbox::Sandbox;

#[test]
fn apt_installs_a_package_as_emulated_root() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let reachable = distro
        .sh("apt-get update --quiet --quiet --error-on=any")
        .run();
    if reachable.code() != 0 {
        return skip(&format!(
            "the distribution's archive cannot be reached: {}",
            reachable.stderr
        ));
    }
    distro
        .run(
            &["-e", "DEBIAN_FRONTEND=noninteractive"],
            &[
                "apt-get",
                "install",
                "--yes",
                "--no-install-recommends",
                "hello",
            ],
        )
        .run()
        .succeeds();
    distro
        .run(&[], &["hello"])
        .run()
        .succeeds()
        .prints("Hello, world!");
    distro
        .sh("dpkg-query --show --showformat '${db:Status-Status}' hello")
        .run()
        .succeeds()
        .prints("installed");
}

#[test]
fn gcc_compiles_a_program_that_runs() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let sandbox = Sandbox::new();
    sandbox.write(
        "src/main.c",
        "#include <stdio.h>\nint main(int n, char **v) { printf(\"%s %d\\n\", v[1], n); return 42; }\n",
    );
    sandbox.write("src/Makefile", "main: main.c\n\tgcc -O2 -Wall -o $@ $<\n");
    let volume = format!("{}:/work", sandbox.path("src").display());
    let script = "make --silent && ./main compiled";
    distro
        .run(&["-v", &volume, "-w", "/work"], &["/bin/sh", "-c", script])
        .run()
        .exits_with(42)
        .prints("compiled 2");
}

#[test]
fn numpy_computes() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let script =
        "import numpy as n; a = n.arange(10000.0).reshape(100, 100); print(int(n.trace(a @ a.T)))";
    distro
        .run(&[], &["python3", "-c", script])
        .run()
        .succeeds()
        .prints("333283335000");
}

#[test]
fn git_commits_and_clones() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let sandbox = Sandbox::new();
    sandbox.write("repo/file", "content\n");
    let volume = format!("{}:/work", sandbox.path("repo").display());
    let script = "git init -q . && git add file && \
        git -c user.name=n -c user.email=e@example.org commit -q -m first && \
        git clone -q . /work/copy && git -C copy log --format=%s && cat copy/file";
    distro
        .run(&["-v", &volume, "-w", "/work"], &["/bin/sh", "-c", script])
        .run()
        .succeeds()
        .prints("first\ncontent");
}
