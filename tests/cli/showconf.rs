//! `showconf`, and the effect of configuration files, environment and options on other commands.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::container;
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::registry_server::RegistryServer;
use crate::support::requirement::has_tools;
use crate::support::sandbox::{Ran, Sandbox};

/// The line of `showconf` for `key`.
fn line<'a>(ran: &'a Ran, key: &str) -> &'a str {
    let mut lines = ran.stdout.lines();
    let found = lines.find(|line| line.starts_with(&format!("{key} = ")));
    found.unwrap_or_else(|| panic!("no {key} in {ran:#?}"))
}

fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

#[test]
fn missing_home_variable_falls_back_to_the_account() {
    let sandbox = Sandbox::new();
    let home = udocker::host::facts::home_of_account().unwrap();
    for home_of_environment in [None, Some("")] {
        let run = sandbox.udocker(["--repo=", "--config=", "showconf"]);
        let run = match home_of_environment {
            None => run.without_env("HOME"),
            Some(empty) => run.env("HOME", empty),
        };
        let ran = run.run().succeeds();
        let expected = format!("topdir = {home}/.udocker  # ");
        assert!(line(&ran, "topdir").starts_with(&expected), "{ran:#?}");
    }
}

#[test]
fn configuration_sources_override_in_order() {
    let sandbox = Sandbox::new();
    let top = sandbox.path("top");
    let user = sandbox.write(
        "home/.udocker/udocker.conf",
        format!(
            "[DEFAULT]\ntopdir = {}\ntimeout = 1\nctimeout = 1\nhttp_agent = a\n",
            shown(&top)
        ),
    );
    let of_top = sandbox.write("top/udocker.conf", "[DEFAULT]\ntimeout = 2\nctimeout = 2\n");
    let named = sandbox.write("named.conf", "[DEFAULT]\ntimeout = 3\nreposdir = /named\n");
    let ran = sandbox
        .udocker([
            &format!("--config={}", shown(&named)),
            "--insecure",
            "showconf",
        ])
        .env("UDOCKER_REPOS", "/environment")
        .env("UDOCKER_NOSYSCONF", "1")
        .run()
        .succeeds();
    for (key, expected) in [
        ("topdir", format!("{}  # {}:2", shown(&top), shown(&user))),
        ("http_agent", format!("a  # {}:5", shown(&user))),
        ("ctimeout", format!("2  # {}:3", shown(&of_top))),
        ("timeout", format!("3  # {}:2", shown(&named))),
        ("reposdir", "/environment  # UDOCKER_REPOS".to_string()),
        (
            "layersdir",
            format!("{}  # default", shown(&top.join("layers"))),
        ),
        ("http_insecure", "True  # --insecure".to_string()),
        ("tarball", "  # default; for udocker.py only".to_string()),
    ] {
        assert_eq!(line(&ran, key), format!("{key} = {expected}"));
    }
    let flag = format!("--repo={}", shown(&sandbox.path("flag")));
    let ran = sandbox
        .udocker([&flag, "showconf"])
        .env("UDOCKER_DIR", "/environment")
        .run()
        .succeeds();
    assert_eq!(
        line(&ran, "topdir"),
        format!("topdir = {}  # --repo", shown(&sandbox.path("flag")))
    );
}

/// The variables that udocker.py reads for its configuration.
#[test]
fn every_environment_variable_sets_its_key() {
    let sandbox = Sandbox::new();
    for (variable, key) in [
        ("UDOCKER_DIR", "topdir"),
        ("UDOCKER_BIN", "bindir"),
        ("UDOCKER_LIB", "libdir"),
        ("UDOCKER_DOC", "docdir"),
        ("UDOCKER_REPOS", "reposdir"),
        ("UDOCKER_LAYERS", "layersdir"),
        ("UDOCKER_CONTAINERS", "containersdir"),
        ("UDOCKER_INDEX", "dockerio_index_url"),
        ("UDOCKER_TARBALL", "tarball"),
        ("UDOCKER_TMP", "tmpdir"),
        ("UDOCKER_KEYSTORE", "keystore"),
        ("UDOCKER_FAKECHROOT_SO", "fakechroot_so"),
        ("UDOCKER_FAKECHROOT_LIBC", "fakechroot_libc"),
        ("UDOCKER_FAKECHROOT_CMD_SUBST", "fakechroot_cmd_subst"),
        (
            "UDOCKER_FAKECHROOT_EXPAND_SYMLINKS",
            "fakechroot_expand_symlinks",
        ),
        ("UDOCKER_USE_CURL_EXECUTABLE", "use_curl_executable"),
        ("UDOCKER_USE_PROOT_EXECUTABLE", "use_proot_executable"),
        ("UDOCKER_USE_RUNC_EXECUTABLE", "use_runc_executable"),
        (
            "UDOCKER_USE_SINGULARITY_EXECUTABLE",
            "use_singularity_executable",
        ),
        ("UDOCKER_USE_PATCHELF_EXECUTABLE", "use_patchelf_executable"),
    ] {
        let ran = sandbox.udocker(["showconf"]).env(variable, "/value").run();
        let ran = ran.succeeds();
        let expected = format!("{key} = /value  # {variable}");
        let found = line(&ran, key).split(';').next();
        assert_eq!(found, Some(expected.as_str()), "{ran:#?}");
    }
    for (variable, value, key) in [
        (
            "UDOCKER_REGISTRY",
            "https://mirror.org",
            "dockerio_registry_url",
        ),
        ("UDOCKER_LOGLEVEL", "4", "verbose_level"),
        (
            "UDOCKER_DEFAULT_EXECUTION_MODE",
            "auto",
            "override_default_execution_mode",
        ),
    ] {
        let ran = sandbox.udocker(["showconf"]).env(variable, value).run();
        let expected = format!("{key} = {value}  # {variable}");
        assert_eq!(line(&ran.succeeds(), key), expected);
    }
}

#[test]
fn unknown_key_is_warned_of_once() {
    let sandbox = Sandbox::new();
    let text = "[DEFAULT]\nhttp_porxy = x\nhttp_porxy = y\n";
    let user = sandbox.write("home/.udocker/udocker.conf", text);
    let named = sandbox.write("named.conf", text);
    let option = format!("--config={}", shown(&named));
    let ran = sandbox.udocker([&option, "images"]).run().succeeds();
    assert_eq!(
        ran.stderr,
        format!(
            "Warning: {}:2: unknown configuration key 'http_porxy', did you mean 'http_proxy'?\n",
            shown(&user)
        )
    );
    let ran = sandbox.udocker(["-q", "images"]).run().succeeds();
    assert_eq!(ran.stderr, "");
}

/// The test's user can only have a system-wide file in a mount namespace.
#[test]
fn system_file_is_read_unless_switched_off() {
    let sandbox = Sandbox::new();
    let script =
        "mount -t tmpfs tmpfs /etc && printf '[DEFAULT]\ntimeout = 77\n' > /etc/udocker.conf";
    let show = |value: Option<&str>| {
        let invocation = sandbox.udocker(["--allow-root", "showconf"]);
        let invocation = match value {
            Some(value) => invocation.env("UDOCKER_NOSYSCONF", value),
            None => invocation,
        };
        invocation.run_confined(script)
    };
    let Some(ran) = show(None) else { return };
    let ran = ran.succeeds();
    assert_eq!(line(&ran, "timeout"), "timeout = 77  # /etc/udocker.conf:2");
    for value in ["1", "no matter what"] {
        let ran = show(Some(value)).expect("namespaces, as before").succeeds();
        assert_eq!(line(&ran, "timeout"), "timeout = 12  # default");
    }
}

#[test]
fn search_path_depends_on_root_or_user() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let text = "[DEFAULT]\nroot_path = /bin:/of-root\nuser_path = /bin:/of-user\n";
    sandbox.write("home/.udocker/udocker.conf", text);
    for (user, path) in [
        ("--user=root", "/bin:/of-root"),
        ("--user=me", "/bin:/of-user"),
    ] {
        let options = ["-q", "run", "--nometa", user, "one"];
        let arguments = options.iter().chain(&["sh", "-c", "echo $PATH"]);
        sandbox.udocker(arguments).run().succeeds().prints(path);
    }
}

#[test]
fn configuration_errors_name_file_and_line() {
    let sandbox = Sandbox::new();
    for (text, line, part) in [
        ("[DEFAULT]\nhello\n", 2, "expected `key = value`"),
        (
            "[DEFAULT]\n\ntimeout = soon\n",
            3,
            "expected a number of seconds",
        ),
        ("[DEFAULT]\nverbose_level = loud\n", 2, "expected a number"),
    ] {
        let file = sandbox.write("udocker.conf", text);
        let option = format!("--config={}", shown(&file));
        let place = format!("{}:{line}: ", shown(&file));
        sandbox
            .udocker([&option, "images"])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[&place, part]);
    }
    sandbox
        .udocker(["--config=absent.conf", "images"])
        .run()
        .exits_with(1)
        .errs_in_one_line(&["'absent.conf'"]);
}

#[test]
fn only_commands_that_need_the_registry_refuse_its_address() {
    let sandbox = Sandbox::new();
    let url = "https://art.org/api//hub";
    let udocker = |command: &str| sandbox.udocker([command]).env("UDOCKER_REGISTRY", url);
    udocker("ps").run().succeeds();
    udocker("showconf").run().succeeds();
    let index = sandbox.udocker(["search", "--index=http://127.0.0.1:1", "tool"]);
    let ran = index.env("UDOCKER_REGISTRY", url).run().exits_with(1);
    ran.errs_in_one_line(&["http://127.0.0.1:1"]);
    let pull = sandbox.udocker(["pull", "busybox"]);
    let ran = pull.env("UDOCKER_REGISTRY", url).run().exits_with(1);
    ran.errs_in_one_line(&[
        "UDOCKER_REGISTRY: ",
        url,
        "'/api//hub' is no path of a registry",
    ]);
}

#[test]
fn only_run_refuses_an_unknown_default_mode() {
    let sandbox = Sandbox::new();
    let udocker = |args: &[&str]| {
        let command = sandbox.udocker(args);
        command.env("UDOCKER_DEFAULT_EXECUTION_MODE", "p1").run()
    };
    udocker(&["ps"]).succeeds();
    let location = format!("--location={}", sandbox.path("").display());
    udocker(&["run", &location, "/true"])
        .exits_with(125)
        .errs_in_one_line(&[
            "UDOCKER_DEFAULT_EXECUTION_MODE: ",
            "expected an execution mode",
        ]);
}

#[test]
fn a_configuration_file_is_masked_by_dev_null() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.store()).unwrap();
    symlink("/dev/null", sandbox.store().join("udocker.conf")).unwrap();
    sandbox.udocker(["ps"]).run().succeeds();
}

#[test]
fn a_login_in_an_address_is_not_shown() {
    let sandbox = Sandbox::new();
    for variable in ["UDOCKER_REGISTRY", "UDOCKER_INDEX"] {
        let show = sandbox.udocker(["showconf"]);
        let ran = show.env(variable, "http://me:secret@h").run().succeeds();
        let line = format!(" = http://…@h  # {variable}\n");
        assert!(ran.stdout.contains(&line), "{ran:#?}");
    }
}

#[test]
fn no_proxy_applies_to_a_configured_proxy() {
    let server = FakeRegistry::start(|_| Reply::new(200, r#"{"tags":["1"]}"#));
    let proxy = FakeRegistry::start(|_| Reply::new(418, ""));
    let sandbox = Sandbox::new();
    let file = sandbox.write(
        "p.conf",
        format!("[DEFAULT]\nhttp_proxy = {}\n", proxy.url()),
    );
    let image = format!("{}/lab/tool", server.url());
    for option in [
        format!("--httpproxy={}", proxy.url()),
        format!("--config={}", shown(&file)),
    ] {
        let list = || sandbox.udocker(["search", "--list-tags", &option, &image]);
        let direct = list().env("no_proxy", "127.0.0.1").run();
        direct.succeeds().prints("1");
        list().run().exits_with(1);
    }
    assert_eq!((server.requests().len(), proxy.requests().len()), (2, 2));
}

#[test]
fn debugging_shows_files_requests_and_causes() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("home/.udocker/udocker.conf", "[DEFAULT]\ntimeout = 9\n");
    let arguments = ["pull", "http://127.0.0.1:1/lab/tool"];
    let ran = sandbox
        .udocker(arguments)
        .env("UDOCKER_LOGLEVEL", "5")
        .run();
    let ran = ran.exits_with(1);
    for (begin, end) in [
        (format!("Debug: configuration read: {}", shown(&file)), ""),
        (
            "Debug: GET http://127.0.0.1:1/v2/lab/tool/manifests/latest: ".to_string(),
            "Connection refused (os error 111)",
        ),
        (
            "Debug: caused by: ".to_string(),
            "Connection refused (os error 111)",
        ),
    ] {
        let is_it = |line: &str| line.starts_with(&begin) && line.ends_with(end);
        assert!(ran.stderr.lines().any(is_it), "{begin} in {ran:#?}");
    }
    let ran = sandbox.udocker(arguments).run().exits_with(1);
    ran.errs_in_one_line(&["Connection refused"]);
}

#[test]
fn level_2_shows_warnings_without_notes_banner_and_headers() {
    let sandbox = Sandbox::new();
    container::busybox(&sandbox);
    let at_level = |level: &str, arguments: &[&str]| {
        let invocation = sandbox.udocker(arguments).env("UDOCKER_LOGLEVEL", level);
        invocation.run().succeeds()
    };
    let run = ["run", "--novol=/none", "--memory=1g", "one", "true"];
    let loud = at_level("3", &run).stderr;
    for part in ["Warning: ", "Info: ", "STARTING"] {
        assert!(loud.contains(part), "{loud}");
    }
    let ran = at_level("2", &run);
    assert!(
        ran.stderr.starts_with("Warning: `--novol=/none`"),
        "{ran:#?}"
    );
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:#?}");
    assert_eq!(at_level("1", &run).stderr, "");
    at_level("2", &["images"]).prints("");
    at_level("3", &["images"]).prints("REPOSITORY");
}

#[test]
fn debugging_shows_blobs_that_are_reused() {
    if !has_tools(&["docker-registry"]) {
        return;
    }
    let server = RegistryServer::plain();
    server.push_image("lab/tool", "1", &[0; 1024]);
    let sandbox = Sandbox::new();
    let image = format!("{}/lab/tool:1", server.url());
    let reused = || {
        let ran = sandbox.udocker(["-D", "pull", &image]).run().succeeds();
        let lines = ran.stderr.lines();
        let lines = lines.filter(|line| line.starts_with("Debug: blob sha256:"));
        lines
            .filter(|line| line.ends_with(" is in the repository already"))
            .count()
    };
    assert_eq!((reused(), reused()), (0, 1));
}
