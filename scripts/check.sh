#!/bin/bash
# The gates, without installing anything: check.sh [--quick]. A gate whose tool is missing is
# skipped aloud, and fails where CI is set. --quick leaves out the end-to-end tests and the
# documentation.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

quick=false; [[ ${1-} != --quick ]] || quick=true
export RUSTDOCFLAGS="-D warnings ${RUSTDOCFLAGS-}"

# gate TOOL COMMAND…: runs the command where the tool is there.
gate() {
	local tool=$1; shift
	printf '\n==> %s\n' "$*"
	if command -v "$tool" >/dev/null; then "$@"; return; fi
	echo "SKIPPED: $tool is not installed; scripts/test.sh installs it"
	[[ -z ${CI-} ]] || exit 1
}

# Root's tests run as another user.
if [[ $(id -u) == 0 ]]; then
	scripts/make-test-user.sh
	target=$(rustc --version --verbose | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
	export "CARGO_TARGET_${target}_RUNNER=$PWD/scripts/as-test-user.sh"
fi

gate rustfmt cargo fmt --check
gate shellcheck scripts/run-shellcheck.sh
gate cargo-clippy cargo clippy --locked --all-targets -- -D warnings
gate g++ cargo clippy --locked --manifest-path tests/fuzz/Cargo.toml -- -D warnings
gate cargo-deny cargo deny --locked check licenses bans sources
gate cargo scripts/list-crates.sh --check
if gate cargo-deny timeout 120 cargo deny --locked fetch db >/dev/null 2>&1; then
	gate cargo-deny cargo deny --locked check advisories
else
	echo "SKIPPED: advisories, whose database cannot be fetched from here"
fi
if ! $quick; then
	gate cargo cargo doc --locked --no-deps --document-private-items
	[[ ! -x vendor-proot/test.sh ]] || gate gcc scripts/as-test-user.sh vendor-proot/test.sh
fi

what=(); ! $quick || what=(-E 'not binary(e2e)')
# Who starts this in the background of a script makes it, and all that tests start, ignore Ctrl-C.
gate cargo-nextest env --default-signal=INT,QUIT cargo nextest run --locked --no-fail-fast "${what[@]}"
