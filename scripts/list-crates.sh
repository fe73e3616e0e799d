#!/bin/bash
# Lists the crates inside the executable, with version and licence, for `udocker version --json`:
# list-crates.sh writes embedded-crates.tsv, list-crates.sh --check compares it with Cargo.lock.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."

list() {
	cargo tree --locked --edges normal,no-proc-macro --prefix none --format $'{p}\t{l}' \
		--target x86_64-unknown-linux-gnu --target aarch64-unknown-linux-gnu |
		sed -e 's/ (\*)$//' -e 's/ v\([0-9][^\t]*\)\t/\t\1\t/' | grep $'\t' | grep -v $'^udocker\t' | LC_ALL=C sort -u
}

case ${1-} in
	'') list >embedded-crates.tsv ;;
	--check) diff embedded-crates.tsv <(list) || { echo "run scripts/list-crates.sh" >&2; exit 1; } ;;
	*) echo "usage: $0 [--check]" >&2; exit 2 ;;
esac
