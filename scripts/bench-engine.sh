#!/bin/bash
# Mode R1 beside the two things that it should be as fast as, side by side in one run: bubblewrap at
# starting a container, and a plain user-namespace chroot at work in it, where P1 is shown too.
#
# bench-engine.sh [LINE…]: lines of work as in vendor-proot/bench-work.sh, all by default; "start" is
# the start alone. Needs the test image (scripts/make-test-image.sh), bubblewrap and a quiet machine;
# CLOCK=cpu compares time on processors instead. ROUNDS is 9 by default, 30 times as many for starts.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
udocker=${UDOCKER:-$(find "$target/" -path '*/release/udocker' -type f -perm -u+x | head -n 1)}
[[ -x $udocker ]] || { echo "$0: first build a release: cargo build --release"; exit 2; }
if [[ $(id -u) == 0 ]]; then
	scripts/install-packages.sh bench
	scripts/make-test-user.sh
	exec scripts/as-test-user.sh env UDOCKER="$udocker" "$0" "$@"
fi

scratch=$(mktemp -d)
trap 'chmod -R u+rwx "$scratch"; rm -rf "$scratch"' EXIT
export HOME=$scratch UDOCKER_ID_RANGES=false LC_ALL=C
"$udocker" --quiet load -i "$target/test-images/distro" bench/distro >/dev/null
"$udocker" --quiet create --name=bench bench/distro:latest >/dev/null
root=$(readlink -f "$scratch/.udocker/containers/bench/ROOT")
rounds=${ROUNDS:-9}
# shellcheck source=vendor-proot/bench-work.sh
. vendor-proot/bench-work.sh
prepare_work "$root"
[[ $# == 0 ]] && set -- start $lines

# in_mode MODE COMMAND…
in_mode() { UDOCKER_DEFAULT_EXECUTION_MODE=$1 "$udocker" run --nobanner bench "${@:2}"; }

starts() {
	local binds=(--bind "$root" / --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys)
	for path in /etc/resolv.conf /etc/host.conf; do [[ ! -e $path ]] || binds+=(--bind "$path" "$path"); done
	gcc -O1 -o "$scratch/starts" scripts/bench/starts.c
	UDOCKER_DEFAULT_EXECUTION_MODE=R1 "$scratch/starts" "$((rounds * 30))" \
		"$udocker" run --nobanner bench true -- \
		bwrap --unshare-user --uid 0 --gid 0 "${binds[@]}" --chdir /root /bin/true |
		awk '{ printf "start of `true`: R1 %s ms, bwrap %s ms, ratio %s (at most 1.20)\n", $1, $2, $3 }'
}

# work_in VARIANT LINE: the seconds that the guest sees it take.
work_in() {
	# shellcheck disable=SC2016 # for the guest's shell
	local script='export PATH=/usr/bin:/bin LC_ALL=C; TIMEFORMAT="%R %U %S"; cd /root
		{ time eval "$1" >/dev/null 2>&1 </dev/null; } 2>&1'
	local shell=(/bin/bash -c "$script" bash "${work[$2]}")
	case $1 in
		chroot) unshare --map-root-user --mount sh -c 'mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" &&
			exec chroot "$0" "$@"' "$root" "${shell[@]}" ;;
		*) in_mode "$1" "${shell[@]}" ;;
	esac | tail -n 1 | awk -v clock="${CLOCK-}" '{ print clock == "cpu" ? $2 + $3 : $1 }'
}

median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.3f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

titled=
for line; do
	if [[ $line == start ]]; then
		starts
		continue
	fi
	[[ $titled ]] || printf '%-10s %9s %15s %9s\n' work 'chroot s' 'R1 (max 1.02)' P1
	titled=yes
	: >"$scratch/chroot"; : >"$scratch/R1"; : >"$scratch/P1"
	work_in chroot "$line" >/dev/null
	for ((round = 0; round < rounds; round++)); do
		a=$(work_in chroot "$line") b=$(work_in R1 "$line") c=$(work_in P1 "$line")
		echo "$a" >>"$scratch/chroot"
		awk -v a="$a" -v b="$b" 'BEGIN { print b / a }' >>"$scratch/R1"
		awk -v a="$a" -v c="$c" 'BEGIN { print c / a }' >>"$scratch/P1"
	done
	printf '%-10s %9s %15s %9s\n' "$line" "$(median <"$scratch/chroot")" "$(median <"$scratch/R1")" "$(median <"$scratch/P1")"
done
