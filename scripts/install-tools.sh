#!/bin/bash
# Installs the cargo tools that check.sh needs and that are not on the PATH into target/tools, at
# the versions this project is tested with. Unoptimised: they compile in a third of the time.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

root=${CARGO_TARGET_DIR:-$PWD/target}/tools
export PATH=$root/bin:$PATH
# `host-tuple` and the static C library of .cargo/config.toml are for udocker alone.
unset CARGO_TARGET_DIR
install_tool() {
	command -v "$1" >/dev/null && return
	echo "installing $1 $2 into $root"
	(cd / && RUSTFLAGS='' cargo install --quiet --locked --debug --root "$root" --version "$2" "$1")
}
install_tool cargo-nextest 0.9.143
install_tool cargo-deny 0.20.2
