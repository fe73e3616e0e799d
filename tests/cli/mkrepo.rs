//! `mkrepo`.

use crate::support::sandbox::Sandbox;

#[test]
fn mkrepo_makes_a_repository_that_other_commands_use() {
    let sandbox = Sandbox::new();
    let place = sandbox.path("elsewhere");
    let repo = format!("--repo={}", place.display());
    let images = [&repo, "images"];
    let absent = sandbox.udocker(images).run().exits_with(1);
    absent.errs_in_one_line(&["there is no repository at '"]);
    let mkrepo = ["mkrepo", place.to_str().unwrap()];
    let ran = sandbox.udocker(mkrepo).run().succeeds().prints("");
    assert_eq!(ran.stderr, "");
    assert!(place.join("containers").is_dir());
    sandbox
        .udocker(images)
        .run()
        .succeeds()
        .prints("REPOSITORY");
    assert!(!sandbox.store().exists());
}

#[test]
fn mkrepo_refuses_a_place_that_exists() {
    let sandbox = Sandbox::new();
    for place in ["home", "home/no/../"] {
        std::fs::create_dir_all(sandbox.path("home/no")).unwrap();
        sandbox
            .udocker(["mkrepo", place])
            .run()
            .exits_with(1)
            .errs_in_one_line(&[&format!("'{place}': it exists already")]);
    }
    assert!(!sandbox.path("home/containers").exists());
}
