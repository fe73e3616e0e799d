#!/bin/bash
# Measures the engines beside other programs, in one run: starting a container in R1 beside
# bubblewrap; work in R1 and P1 beside a plain user-namespace chroot; and work in R1 beside the host
# itself. bench/engine.py has the measurements and explains the tables.
#
# bench-engine.sh [LINE…]: lines of work as in vendor-proot/bench-work.sh, all by default; "start"
# is the start alone, and lines of the host are cpu@host fork@host make@host ring@host (Open MPI).
# Needs the test image (scripts/make-test-image.sh) and a quiet machine; as root it installs the
# rest. CLOCK=cpu compares processor time instead. ROUNDS is 9 by default, 30 times as many for
# starts. P1=no leaves P1 out.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
udocker=${UDOCKER:-$(find "$target/" -path '*/release/udocker' -type f -perm -u+x | head -n 1)}
[[ -x $udocker ]] || { echo "$0: first build a release: cargo build --release"; exit 2; }
if [[ $(id -u) == 0 ]]; then
	scripts/install-packages.sh bench
	scripts/make-test-user.sh
	exec scripts/as-test-user.sh env UDOCKER="$udocker" "$PWD/scripts/bench-engine.sh" "$@"
fi

scratch=$(mktemp -d)
trap 'chmod -R u+rwx "$scratch"; rm -rf "$scratch"' EXIT
export HOME=$scratch LC_ALL=C
# A copy, as installation makes one: the kernel maps it faster than the linker's file.
cp "$udocker" "$scratch/udocker"
"$scratch/udocker" --quiet load -i "$target/test-images/distro" bench/distro >/dev/null
"$scratch/udocker" --quiet create --name=bench bench/distro:latest >/dev/null
root=$(readlink -f "$scratch/.udocker/containers/bench/ROOT")

# shellcheck source=vendor-proot/bench-work.sh
. vendor-proot/bench-work.sh
prepare_work "$root"
# shellcheck disable=SC2086 # words
[[ $# != 0 ]] || set -- start $lines cpu@host fork@host make@host ring@host
mkdir "$scratch/work"
for line in "${!work[@]}"; do printf %s "${work[$line]}" >"$scratch/work/$line"; done
gcc -O1 -static -o "$scratch/filtered" scripts/bench/filtered.c
gcc -O1 -o "$scratch/starts" scripts/bench/starts.c
if [[ $* == *@host* ]]; then
	prepare_work "$scratch/own"
	mpicc -O1 -o "$scratch/own/ring" scripts/bench/ring.c
fi
/usr/bin/python3 scripts/bench/engine.py --scratch "$scratch" --root "$root" \
	--rounds "${ROUNDS:-9}" --clock "${CLOCK:-wall}" --p1 "${P1:-yes}" "$@"
