#!/bin/bash
# Installs the cargo tools that check.sh needs and that are not on the PATH into target/tools, at
# tested versions. They are built without optimisation, in a third of the time.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

root=${CARGO_TARGET_DIR:-$PWD/target}/tools
export PATH=$root/bin:$PATH
# .cargo/config.toml (`host-tuple`, static C library) is for udocker only.
unset CARGO_TARGET_DIR
install_tool() {
	command -v "$1" >/dev/null && return
	echo "installing $1 $2 into $root"
	(cd / && RUSTFLAGS='' cargo install --quiet --locked --debug --root "$root" --version "$2" "$1")
}
install_tool cargo-nextest 0.9.143
install_tool cargo-deny 0.20.2
