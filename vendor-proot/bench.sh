#!/bin/bash
# How much slower is a guest than the same work without PRoot?
#
# vendor-proot/bench.sh ROOTFS [LINE...] prints, for each line of work, the time it takes in a
# user-namespace chroot of ROOTFS (native) and how many times that PRoot needs, with its fast paths
# switched off (PROOT_NO_FAST=1) and on: as emulated root (-0), on one core and free to move.
#
# The runs are interleaved and short, the ratio is the median of the ratios of neighbours, so that
# whatever else the machine does hits all alike; on a busy one CLOCK=cpu compares the time on
# processors, of PRoot and its guests, instead. ROUNDS (default 7), PROOT, MODES ("one across"),
# ROOT_OPTION (default -0; set it to the empty string for the caller's own identity). Needs unshare;
# ROOTFS needs find, tar, sh, gcc, make and python3 with numpy for the lines that use them.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
rootfs=$(readlink -f "${1:?usage: bench.sh ROOTFS [LINE...]}")
shift
proot=${PROOT:-$here/build/$(uname -m)/proot}
export PROOT_LOADER=${PROOT_LOADER-$here/build/$(uname -m)/loader}
rounds=${ROUNDS:-7} option=${ROOT_OPTION--0}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/proot-bench.XXXXXX")
trap 'rm -rf "$scratch" "$rootfs/bench"' EXIT
# shellcheck source=vendor-proot/bench-work.sh
. "$here/bench-work.sh"
prepare_work "$rootfs"
[ $# -gt 0 ] && lines="$*"

# run VARIANT LINE: the seconds it takes.
run() {
    local TIMEFORMAT='%R %U %S'
    {
        time case $1 in
            native) unshare -r ${pin:+taskset -c 0} chroot "$rootfs" /bin/sh -c "${work[$2]}" ;;
            off) PROOT_NO_FAST=1 ${pin:+taskset -c 0} "$proot" $option -r "$rootfs" -b /proc -b /dev -w / /bin/sh -c "${work[$2]}" ;;
            on) ${pin:+taskset -c 0} "$proot" $option -r "$rootfs" -b /proc -b /dev -w / /bin/sh -c "${work[$2]}" ;;
        esac >/dev/null 2>&1 </dev/null || true
    } 2>&1 | awk -v cpu="${CLOCK-}" '{ print cpu == "cpu" ? $2 + $3 : $1 }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.2f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

printf '%-10s %-7s %9s %9s %9s %9s\n' work cores 'native s' 'off' 'fast' 'off/fast'
for line in $lines; do
    for cores in ${MODES:-one across}; do
        pin=; [ "$cores" = across ] || pin=yes
        run native "$line" >/dev/null
        : >"$scratch/n"; : >"$scratch/off"; : >"$scratch/on"; : >"$scratch/gain"
        for _ in $(seq "$rounds"); do
            a=$(run native "$line") b=$(run off "$line") c=$(run on "$line")
            echo "$a" >>"$scratch/n"
            awk -v a="$a" -v b="$b" 'BEGIN { print b / a }' >>"$scratch/off"
            awk -v a="$a" -v c="$c" 'BEGIN { print c / a }' >>"$scratch/on"
            awk -v b="$b" -v c="$c" 'BEGIN { print b / c }' >>"$scratch/gain"
        done
        printf '%-10s %-7s %9s %9s %9s %9s\n' "$line" "$cores" "$(median <"$scratch/n")" "$(median <"$scratch/off")" "$(median <"$scratch/on")" "$(median <"$scratch/gain")"
    done
done
