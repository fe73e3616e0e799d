#!/bin/bash
# Measures listings of a large repository, and archive commands beside tar doing the same work, and
# prints a table with the targets. Needs a quiet machine. Options go to bench/commands.py:
# bench-commands.sh --rounds 5.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export PATH=$HOME/.cargo/bin:$PATH

target=${CARGO_TARGET_DIR:-$PWD/target}
scripts/install-packages.sh build demo test
vendor-proot/build.sh
cargo build --release --locked
scripts/make-test-image.sh "$target/test-images"

runner=()
if [[ $(id -u) == 0 ]]; then
	scripts/make-test-user.sh
	runner=(scripts/as-test-user.sh)
fi
"${runner[@]}" env PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 scripts/bench/commands.py \
	--udocker "$(find "$target/" -path '*/release/udocker' -type f -perm -u+x | head -n 1)" \
	--layout "$target/test-images/distro" "$@"
