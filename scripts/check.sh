#!/bin/bash
# Runs all checks without installing anything: check.sh [--quick]. Skips are printed and counted;
# where CI is set, a skip that permitted-skips.txt does not list is a failure. --quick leaves out
# the end-to-end tests and the documentation.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

quick=false; [[ ${1-} != --quick ]] || quick=true
export RUSTDOCFLAGS="-D warnings ${RUSTDOCFLAGS-}"

# test.sh has begun to count already.
[[ -n ${UDOCKER_TEST_SKIPS-} ]] || . scripts/count-skips.sh
trap 'echo; echo "$(wc -l <"$UDOCKER_TEST_SKIPS") skipped"; sort "$UDOCKER_TEST_SKIPS" | uniq -c' EXIT

# gate TOOL COMMAND…: runs the command if the tool is installed.
gate() {
	local tool=$1; shift
	printf '\n==> %s\n' "$*"
	if command -v "$tool" >/dev/null; then "$@"; return; fi
	scripts/skip.sh "$tool is not installed; scripts/test.sh installs it"
}

# If the caller is root, the tests run as another user.
if [[ $(id -u) == 0 ]]; then
	scripts/make-test-user.sh
	target=$(rustc --version --verbose | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
	export "CARGO_TARGET_${target}_RUNNER=$PWD/scripts/as-test-user.sh"
fi

gate rustfmt cargo fmt --check
gate shellcheck scripts/run-shellcheck.sh
gate bash scripts/check-decisions.sh
gate cargo-clippy cargo clippy --locked --all-targets -- -D warnings
gate g++ cargo clippy --locked --manifest-path tests/fuzz/Cargo.toml -- -D warnings
gate cargo-deny cargo deny --locked check licenses bans sources
gate cargo scripts/list-crates.sh --check
if gate cargo-deny timeout 120 cargo deny --locked fetch db >/dev/null 2>&1; then
	gate cargo-deny cargo deny --locked check advisories
else
	scripts/skip.sh "the database of advisories cannot be fetched"
fi
if ! $quick; then
	gate cargo cargo doc --locked --no-deps --document-private-items
	[[ ! -x vendor-proot/test.sh ]] || gate gcc scripts/as-test-user.sh vendor-proot/test.sh
fi

what=(); ! $quick || what=(-E 'not binary(e2e)')
# A script that starts this one in the background makes it, and all its children, ignore SIGINT.
gate cargo-nextest env --default-signal=INT,QUIT cargo nextest run --locked --no-fail-fast "${what[@]}"
