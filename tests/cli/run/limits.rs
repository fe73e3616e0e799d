//! Excessively long paths and chains of symbolic links in an image are refused quickly.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::container;
use crate::support::sandbox::Sandbox;

#[test]
fn long_paths_and_symlink_chains_are_refused_quickly() {
    let sandbox = Sandbox::new();
    let directory = container::busybox(&sandbox);
    let root = directory.join("ROOT");
    fs::create_dir(root.join("s")).unwrap();
    for n in 0..39 {
        let target = format!("{}l{}", "s/../".repeat(800), n + 1);
        symlink(target, root.join(format!("l{n}"))).unwrap();
    }
    let (maze, long) = ("/l0:".repeat(1000), "/a".repeat(200_000));
    let config = |key: &str, value| json!({"config": {key: value}});
    for (config, home, options, code, part) in [
        (
            config("Env", json!([format!("PATH={maze}")])),
            "/",
            &["one", "none"][..],
            127,
            "'none' not found",
        ),
        (
            config("Env", json!([format!("PATH={maze}")])),
            "/",
            &["one"],
            127,
            "no shell found",
        ),
        (
            config("Env", json!([format!("PATH={}", long.replace('a', "l0:"))])),
            "/",
            &["one", "none"],
            127,
            "'none' not found",
        ),
        (
            config("WorkingDir", json!(long)),
            "/",
            &["one", "true"],
            125,
            "a path of 400000 bytes is too long",
        ),
        (
            config("Cmd", json!([long])),
            "/",
            &["one"],
            126,
            "a path of 400000 bytes is too long",
        ),
        (json!({}), &long, &["one", "none"], 127, "'none' not found"),
        (
            json!({}),
            "/",
            &["-w", "/l0", "one", "true"],
            125,
            "too many symbolic links",
        ),
        (
            json!({}),
            "/",
            &["-v", "/usr:/l0", "one", "true"],
            125,
            "too many symbolic links",
        ),
    ] {
        fs::write(directory.join("container.json"), config.to_string()).unwrap();
        let passwd = format!("root:x:0:0::{home}:/bin/sh\n");
        fs::write(root.join("etc/passwd"), passwd).unwrap();
        let start = Instant::now();
        let arguments = ["run", "--nobanner"].iter().chain(options);
        let ran = sandbox.udocker(arguments).run().exits_with(code);
        ran.errs_in_one_line(&[part]);
        let took = start.elapsed();
        assert!(took < Duration::from_secs(10), "{part}: {took:?}");
    }
}
