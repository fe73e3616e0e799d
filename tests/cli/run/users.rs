//! The user in the container.

use crate::support::prepared::Distro;

#[test]
fn id_shows_the_user_of_the_option() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    let own = format!("{uid} {gid}");
    // Options, expected uid and gid, expected name.
    let cases: [(&[&str], &str, &str); 6] = [
        (&[], "0 0", "root"),
        (&["-u", "root"], "0 0", "root"),
        (&["--user=0:0"], "0 0", "root"),
        (&["-u", "daemon"], &own, "daemon"),
        (&["--user", "stranger"], &own, "stranger"),
        (&["-u", "12345:54321"], "12345 54321", ""),
    ];
    for (options, ids, name) in cases {
        let ran = distro
            .run(options, &["/bin/sh", "-c", "echo $(id -u) $(id -g)"])
            .run()
            .succeeds();
        assert_eq!(ran.text(), ids, "{options:?}: {ran:#?}");
        if !name.is_empty() {
            let ran = distro.run(options, &["id", "-un"]).run().succeeds();
            assert_eq!(ran.text(), name, "{options:?}: {ran:#?}");
        }
    }
}

#[test]
fn unknown_user_is_an_error_with_given_account_files() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    for option in ["--hostauth", "--containerauth"] {
        distro
            .run(&[option, "--user=stranger"], &["true"])
            .run()
            .exits_with(125)
            .errs_in_one_line(&["stranger"]);
    }
}

#[test]
fn home_is_that_of_the_user_in_passwd() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    let script = ["/bin/sh", "-c", "echo $HOME $USER $LOGNAME"];
    distro
        .run(&[], &script)
        .run()
        .succeeds()
        .prints("/root root root");
    distro
        .run(&["-u", "daemon"], &script)
        .run()
        .succeeds()
        .prints("/usr/sbin daemon daemon");
}
