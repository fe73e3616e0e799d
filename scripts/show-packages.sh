#!/bin/bash
# Shows that apt installs common packages, and that these run, in a Debian container in each mode:
# show-packages.sh UDOCKER [MODE…], by default R1 with one id, R1 with the granted id ranges (R1+),
# and R2. Needs the test image (scripts/make-test-image.sh) and the archive that this machine's apt
# uses; root runs it as the test user.
set -euo pipefail
udocker=$(readlink -f "${1:?usage: $0 UDOCKER [MODE…]}")
cd "$(dirname "$(readlink -f "$0")")/.."
image=$(readlink -f "${UDOCKER_TEST_IMAGES:-${CARGO_TARGET_DIR:-target}/test-images}/distro")
if [[ $(id -u) == 0 ]]; then
	scripts/make-test-user.sh
	exec scripts/as-test-user.sh env UDOCKER_TEST_IMAGES="${image%/distro}" "$PWD/scripts/show-packages.sh" "$udocker" "${@:2}"
fi
shift
[[ $# != 0 ]] || set -- R1 R1+ R2
archive=$(scripts/debian-mirror.sh) || { echo "$0: apt knows no archive" >&2; exit 1; }
suite=${archive% *} mirror=${archive#* }

HOME=$(mktemp -d)
export HOME
trap '"$udocker" --quiet rm -f work 2>/dev/null || true; chmod -R u+rwx "$HOME"; rm -rf "$HOME"' EXIT
"$udocker" --quiet load -i "$image" lab/distro >/dev/null
for mode; do
	"$udocker" --quiet create --name=work lab/distro:latest >/dev/null
	ranges=false
	[[ $mode != *+ ]] || ranges=true
	export UDOCKER_DEFAULT_EXECUTION_MODE=${mode%+} UDOCKER_ID_RANGES=$ranges
	"$udocker" --quiet run --nobanner -e DEBIAN_FRONTEND=noninteractive work sh -ec "
		echo 'deb $mirror $suite main' >/etc/apt/sources.list
		{ apt-get update && apt-get install -y --no-install-recommends \
			python3 gcc libc6-dev git curl nodejs; } >/root/log 2>&1 || { tail /root/log; exit 1; }
		cd /root; echo 'int main(void) { return 0; }' >a.c; gcc -o a a.c; ./a; git init -q repository
		python3 -c 'print(\"python3\", 6 * 7)'; node -p '\"node \" + 6 * 7'; curl --version | cut -c -11 | head -n 1
		test -z \"\$(dpkg --audit)\""
	"$udocker" --quiet rm -f work
	echo "ok: $mode"
done
