//! Packages with foreign owners are installed in each mode, and their scripts switch users.

use crate::support::prepared::Distro;
use crate::support::requirement::{allowed_modes, has_id_ranges};

const SCRIPTS: [(&str, &str); 2] = [
    ("deb", include_str!("packages/deb.sh")),
    ("rpm", include_str!("packages/rpm.sh")),
];

const CONTAINER: &str = "packages";

#[test]
fn packages_with_foreign_owners_are_installed_in_each_mode() {
    let Some(distro) = Distro::shared() else {
        return;
    };
    // A container of its own, since other tests run apt in the shared one.
    let workplace = distro.workplace();
    let _left_over = workplace.udocker(["rm", "-f", CONTAINER]).run();
    workplace
        .udocker(["create", "--name", CONTAINER, &distro.image()])
        .run()
        .succeeds();
    let allowed = allowed_modes(&["R1", "R2", "R3", "P1"]);
    for (mode, ranges, owner, switched) in [
        // Without id ranges, a filter makes `chown` succeed without effect.
        ("R1", "false", "root:root", "0"),
        ("R1", "true", "games:mail", "9"),
        ("R2", "false", "games:mail", "9"),
        ("R3", "false", "games:mail", "9"),
        ("P1", "false", "games:mail", "9"),
    ] {
        if !allowed.contains(&mode) || ranges == "true" && !has_id_ranges() {
            continue;
        }
        for (kind, script) in SCRIPTS {
            let ran = workplace
                .udocker(["run", "--nobanner", CONTAINER, "/bin/sh", "-c", script])
                .env("UDOCKER_DEFAULT_EXECUTION_MODE", mode)
                .env("UDOCKER_ID_RANGES", ranges)
                .run()
                .succeeds();
            let expected = format!("content\n{owner} 4750\n{switched}");
            assert_eq!(ran.text(), expected, "{kind} in {mode}: {ran:#?}");
        }
    }
    workplace.udocker(["rm", CONTAINER]).run().succeeds();
}
