//! How the hosts of registries are found.

use super::bad_registries::Served;
use crate::support::fake_registry::FakeRegistry;
use crate::support::sandbox::Sandbox;

/// Nobody else is asked for them, so a machine without name servers finds them at once.
#[test]
fn hosts_in_etc_hosts_need_no_name_server() {
    let served = Served::new();
    let registry = FakeRegistry::start(move |request| served.reply(request));
    let image = registry.url().replace("127.0.0.1", "registry.test") + "/lab/odd:1";
    let sandbox = Sandbox::new();
    let script = "mount -t tmpfs tmpfs /etc && echo '127.0.0.1 registry.test' > /etc/hosts";
    let pull = sandbox.udocker(["--allow-root", "pull", &image]);
    let Some(ran) = pull.run_confined(script) else {
        return;
    };
    ran.succeeds();
}
