#!/bin/bash
# Installs what the tests need (packages.txt) and runs all of them. If the caller is root, the tests
# run as the user udocker-test, which this script creates. The first run takes about a quarter of an
# hour on two processors, mostly for compiling and the test images; later runs take a few minutes.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export PATH=$HOME/.cargo/bin:$PATH

say() { printf '\n==> %s\n' "$*"; }

say "Requirements of build and tests (scripts/packages.txt)"
scripts/install-packages.sh build demo test
scripts/install-rust.sh

if [[ $(id -u) == 0 ]]; then
	scripts/make-test-user.sh
	# If that user cannot read the checkout, for example below /root, a copy is tested.
	if ! runuser -u udocker-test -- test -r "$PWD/Cargo.toml"; then
		copy=/var/lib/udocker-test/checkout
		say "The user udocker-test cannot read $PWD: testing a copy in $copy"
		mkdir -p "$copy"
		find "$copy" -mindepth 1 -maxdepth 1 ! -name target -exec rm -rf {} +
		tar --create --exclude=./target . | tar --extract --directory "$copy" --no-same-owner
		exec "$copy/scripts/test.sh"
	fi
fi

scripts/install-tools.sh
tools=${CARGO_TARGET_DIR:-$PWD/target}/tools/bin
export PATH=$tools:$PATH

. scripts/count-skips.sh # check.sh prints them

say "PRoot, from its pinned source and our patches"
vendor-proot/build.sh

export UDOCKER_TEST_IMAGES=${CARGO_TARGET_DIR:-$PWD/target}/test-images
say "Test images, in the background (log in $UDOCKER_TEST_IMAGES/log)"
mkdir -p "$UDOCKER_TEST_IMAGES"
sudo=(); [[ $(id -u) == 0 ]] || sudo=(sudo "--preserve-env=CI,UDOCKER_TEST_SKIPS")
"${sudo[@]}" scripts/make-test-image.sh "$UDOCKER_TEST_IMAGES" >"$UDOCKER_TEST_IMAGES/log" 2>&1 &
images=$!
trap 'kill "$images" 2>/dev/null || true' EXIT
await_images() { wait "$images" || { tail -n 30 "$UDOCKER_TEST_IMAGES/log"; echo "the test image could not be made"; exit 1; }; }
# While more is compiled, an image that failed is noticed at the next step.
check_images() { [[ -n $(jobs -r) ]] || await_images; }

export UDOCKER_TEST_CALLERS=${CARGO_TARGET_DIR:-$PWD/target}/callers
udocker_py=${CARGO_TARGET_DIR:-$PWD/target}/udocker-py
export UDOCKER_PY=$udocker_py/bin/python3
say "Workflow engines that call udocker, and udocker.py itself"
scripts/install-python.sh "$UDOCKER_TEST_CALLERS" 'toil[cwl]==9.6.0' \
	cwltool==3.3.20260925135507 miniwdl==1.16.0
scripts/install-python.sh "$udocker_py" udocker==1.3.17

say "Compiling"
check_images
cargo build --release --locked
check_images
cargo test --no-run --locked
await_images

trap - EXIT

binary=$(find "${CARGO_TARGET_DIR:-$PWD/target}/" -path '*/release/udocker' -type f -perm -u+x | head -n 1)
say "The executable is portable"
"${sudo[@]}" scripts/show-portable.sh "$binary" "$UDOCKER_TEST_IMAGES"

say "File systems that share blocks, belong to others, or fail"
"${sudo[@]}" scripts/show-filesystems.sh "$binary"

exec scripts/check.sh
