//! `logout`; that a login is gone from the registry's point of view is in `login`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::sandbox::Sandbox;

/// A sandbox with logins to two registries.
fn with_logins() -> Sandbox {
    let sandbox = Sandbox::new();
    let logins = json!({
        "https://quay.io": {"auth": "YTpi", "email": ""},
        "https://ghcr.io": {"auth": "YTpi", "email": ""},
    });
    let keystore = sandbox.write("home/.udocker/keystore", logins.to_string());
    fs::set_permissions(keystore, Permissions::from_mode(0o600)).unwrap();
    sandbox
}

#[test]
fn logout_forgets_the_login_to_one_registry() {
    for registry in ["--registry=quay.io", "quay.io"] {
        let sandbox = with_logins();
        let logout = ["logout", registry];
        let ran = sandbox.udocker(logout).run().succeeds().prints("");
        assert_eq!(ran.stderr, "");
        let kept = fs::read(sandbox.store().join("keystore")).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        let expected = json!({"https://ghcr.io": {"auth": "YTpi", "email": ""}});
        assert_eq!(kept, expected);
        let again = sandbox.udocker(logout).run().exits_with(1);
        assert_eq!(
            again.stderr,
            "Error: there is no stored login for 'https://quay.io'\n"
        );
    }
}

#[test]
fn logout_forgets_all_logins() {
    let sandbox = with_logins();
    let ran = sandbox.udocker(["logout", "-a"]).run().succeeds();
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert!(!sandbox.store().join("keystore").exists());
}
