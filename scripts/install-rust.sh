#!/bin/bash
# Ensures a Rust toolchain at least as new as Cargo.toml's rust-version: uses the installed one,
# else installs the distribution's, else one by rustup's installer in the caller's home.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH=$HOME/.cargo/bin:$PATH

wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
at_least_wanted() { printf '%s\n' "$wanted" "$1" | sort --version-sort --check=quiet; }

present=$(cargo --version 2>/dev/null | cut -d ' ' -f 2 || true)
if [[ -n $present ]] && at_least_wanted "$present"; then
	exit 0
fi
echo "this needs Rust $wanted or newer; found: ${present:-none}"
packaged=$(apt-cache policy cargo 2>/dev/null | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
sudo=(); [[ $(id -u) == 0 ]] || sudo=(sudo)
if [[ -z $present && -n $packaged ]] && at_least_wanted "$packaged"; then
	echo "installing the distribution's cargo $packaged"
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
		cargo rust-clippy rustfmt >/dev/null
elif command -v rustup >/dev/null; then
	rustup toolchain install stable --profile minimal
	rustup default stable
else
	echo "installing a toolchain into ~/.cargo with rustup's installer"
	installer=$(mktemp)
	trap 'rm -f "$installer"' EXIT
	curl --proto '=https' --tlsv1.2 --silent --show-error --fail --location --output "$installer" https://sh.rustup.rs
	RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$installer" -y --no-modify-path --profile minimal --component clippy --component rustfmt
fi
