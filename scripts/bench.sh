#!/bin/bash
# Compares speed and memory with udocker.py 1.3.17, umoci, skopeo, tar, cp and rm, side by side in
# one run, and prints a table with the targets. Needs a quiet machine. First run scripts/test.sh or
# scripts/make-test-image.sh, which makes the image; this script fetches and builds the rest. Takes
# 15 GB in TMPDIR. Options go to bench/measure.py: bench.sh --rounds 5; --large measures memory with
# huge images instead, and takes 30 GB and half an hour.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export PATH=$HOME/.cargo/bin:$PATH

target=${CARGO_TARGET_DIR:-$PWD/target}
bench=$target/bench
mkdir -p "$bench"
scripts/install-packages.sh build demo test
vendor-proot/build.sh
cargo build --release --locked
scripts/make-test-image.sh "$target/test-images"
# The system's interpreter, since another user may have to run it.
[[ -x $bench/venv/bin/udocker ]] || {
	/usr/bin/python3 -m venv "$bench/venv"
	"$bench/venv/bin/pip" install --quiet udocker==1.3.17
}
# One more layer of real files makes it 670 MB.
layout=$bench/distro
rm -rf "$layout"
cp -r --reflink=auto "$target/test-images/distro" "$layout"
umoci insert --image "$layout:latest" /usr/lib/gcc /opt/gcc
chmod -R a+rX "$layout"

work=$(mktemp -d)
chmod 755 "$work"
trap 'kill "${registry:-}" 2>/dev/null || true; chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
scripts/serve-registry.sh "$work/registry" &
registry=$!
until [[ -s $work/registry/address ]]; do kill -0 "$registry"; sleep 0.1; done
address=$(cat "$work/registry/address")
skopeo --insecure-policy copy --quiet --dest-tls-verify=false \
	"oci:$layout:latest" "docker://$address/lab/distro:1"

runner=()
if [[ $(id -u) == 0 ]]; then
	scripts/make-test-user.sh
	runner=(scripts/as-test-user.sh)
fi
"${runner[@]}" /usr/bin/python3 scripts/bench/measure.py \
	--udocker "$(find "$target/" -path '*/release/udocker' -type f -perm -u+x | head -n 1)" \
	--udocker-py "$bench/venv/bin/udocker" \
	--proot "$PWD/vendor-proot/build/$(uname -m)/proot" \
	--layout "$layout" \
	--registry "$address" "$@"
