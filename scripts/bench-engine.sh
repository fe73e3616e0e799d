#!/bin/bash
# The engines beside what they should be as fast as, side by side in one run: starting a container in
# R1 beside bubblewrap; work in one, in R1 and P1, beside a plain user-namespace chroot; and, in R1,
# what people run on many cores, beside the host itself. P1 is shown with tracer and guest free to
# move and on one core, each beside the chroot in the same case.
#
# bench-engine.sh [LINE…]: lines of work as in vendor-proot/bench-work.sh, all by default; "start" is
# the start alone, and those of the host are cpu@host fork@host make@host ring@host (Open MPI).
# Needs the test image (scripts/make-test-image.sh) and a quiet machine; as root it installs the rest.
# CLOCK=cpu compares time on processors instead. ROUNDS is 9 by default, 30 times as many for starts;
# beside a ratio is what half of its rounds lie between. P1=no leaves P1 out.
# R1 has the ids that are granted here. With one id root is imitated by a filter of system calls,
# for which the kernel takes the slower way into each call: that is shown beside what it costs to
# filter nothing at all.
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
# As installed: written in one piece, which the kernel maps faster than what a linker leaves.
cp "$udocker" "$scratch/udocker"
udocker=$scratch/udocker
"$udocker" --quiet load -i "$target/test-images/distro" bench/distro >/dev/null
"$udocker" --quiet create --name=bench bench/distro:latest >/dev/null
root=$(readlink -f "$scratch/.udocker/containers/bench/ROOT")
rounds=${ROUNDS:-9}
# shellcheck source=vendor-proot/bench-work.sh
. vendor-proot/bench-work.sh
prepare_work "$root"
host_lines='cpu@host fork@host make@host ring@host'
# shellcheck disable=SC2086 # words
[[ $# == 0 ]] && set -- start $lines $host_lines

gcc -O1 -static -o "$scratch/filtered" scripts/bench/filtered.c

starts() {
	local binds=(--bind "$root" / --dev-bind /dev /dev --bind /proc /proc --bind /sys /sys)
	for path in /etc/resolv.conf /etc/host.conf; do [[ ! -e $path ]] || binds+=(--bind "$path" "$path"); done
	# As root inside, udocker sets apt's user.
	echo 'APT::Sandbox::User "root";' >"$scratch/apt.conf"
	[[ ! -d $root/etc/apt/apt.conf.d ]] || binds+=(--bind "$scratch/apt.conf" /etc/apt/apt.conf.d/zz-bench)
	gcc -O1 -o "$scratch/starts" scripts/bench/starts.c
	UDOCKER_ID_RANGES=false UDOCKER_DEFAULT_EXECUTION_MODE=R1 "$scratch/starts" "$((rounds * 30))" \
		"$udocker" run --nobanner bench true -- \
		bwrap --unshare-user --uid 0 --gid 0 "${binds[@]}" --chdir /root /bin/true |
		awk '{ printf "start of `true`: R1 %s ms, bwrap %s ms, ratio %s (at most 1.20)\n", $1, $2, $3 }'
}

# shellcheck disable=SC2016 # for the shell of the guest
timed='export PATH=/usr/bin:/bin LC_ALL=C; TIMEFORMAT="%U %S"; start=${EPOCHREALTIME/./}
	{ time eval "$1" >/dev/null 2>&1 </dev/null; } 2>&1; echo $((${EPOCHREALTIME/./} - start))'
# Of its last two lines, processor time in seconds and time in microseconds.
seconds() { tail -n 2 | awk -v clock="${CLOCK-}" '{ cpu = taken; taken = NF > 1 ? $1 + $2 : $1 / 1e6 } END { print clock == "cpu" ? cpu : taken }'; }

# in_mode VARIANT COMMAND…: runs udocker; "one" is R1 with one id.
in_mode() {
	case $1 in
		one) UDOCKER_ID_RANGES=false UDOCKER_DEFAULT_EXECUTION_MODE=R1 "${@:2}" ;;
		*) UDOCKER_DEFAULT_EXECUTION_MODE=$1 "${@:2}" ;;
	esac
}

# work_in VARIANT LINE: the seconds that the guest sees it take; on one core with `pin` set.
work_in() {
	local shell=(/bin/bash -c "cd /root; $timed" bash "${work[$2]}") filter=()
	[[ $1 != filter ]] || filter=("$scratch/filtered")
	# shellcheck disable=SC2016,SC2086 # for sh; words
	case $1 in
		native | filter) ${pin-} "${filter[@]}" unshare --map-root-user --mount sh -c 'mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" &&
			exec chroot "$0" "$@"' "$root" "${shell[@]}" ;;
		# The image has a locale of its own, which the chroot does without.
		*) in_mode "$1" ${pin-} "$udocker" run --nobanner -e LC_ALL=C bench "${shell[@]}" ;;
	esac | seconds
}

# beside_host VARIANT LINE: the same on the host, or in R1 with the host's own files.
beside_host() {
	local front=()
	case $1 in
		native) ;;
		filter) front=("$scratch/filtered") ;;
		*) front=(in_mode "$1" "$udocker" -q run --location=/ -w /) ;;
	esac
	case $2 in
		ring@host)
			[[ $1 != R1 && $1 != one ]] || front=(env UDOCKER_DEFAULT_EXECUTION_MODE=R1 "${front[@]:2}" --hostenv --hostauth --user="$(id -un)")
			# In a user namespace nobody reads the memory of others; both do without.
			OMPI_MCA_btl_vader_single_copy_mechanism=none mpirun --oversubscribe -n 4 "${front[@]}" "$own/ring" ;;
		*) "${front[@]}" /bin/bash -c "$timed" bash "${work[${2%@host}]//\/bench/$own/bench}" | seconds ;;
	esac
}

# What beside_host needs, outside any container.
prepare_host() {
	own=$scratch/own
	prepare_work "$own"
	cat >"$own/ring.c" <<-'C'
	#include <mpi.h>
	#include <stdio.h>
	int main(int argc, char **argv)
	{
		int rank, size, token = 0;
		MPI_Init(&argc, &argv);
		MPI_Comm_rank(MPI_COMM_WORLD, &rank);
		MPI_Comm_size(MPI_COMM_WORLD, &size);
		MPI_Barrier(MPI_COMM_WORLD);
		double start = MPI_Wtime();
		for (int round = 0; round < 40000; round++) {
			if (rank > 0 || round > 0)
				MPI_Recv(&token, 1, MPI_INT, (rank + size - 1) % size, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			MPI_Send(&token, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD);
		}
		if (rank == 0) {
			MPI_Recv(&token, 1, MPI_INT, size - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
			printf("%f\n", MPI_Wtime() - start);
		}
		MPI_Finalize();
	}
	C
	mpicc -O1 -o "$own/ring" "$own/ring.c"
}

median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.3f", (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
# The quarter below and the one above left out.
middle() { sort -n | awk '{ v[NR] = $1 } END { n = int(NR / 4); printf "%.3f-%.3f", v[n + 1], v[NR - n] }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { print b / a }'; }

# pair PLACE VARIANT LINE: one more round of a variant beside the native one, each the first in turns.
pair() {
	local a b
	((round % 2)) && b=$("$1" "$2" "$3")
	a=$("$1" native "$3")
	((round % 2)) || b=$("$1" "$2" "$3")
	echo "$a" >>"$scratch/native"
	ratio "$a" "$b" >>"$scratch/${pin+pinned-}$2"
}

# title TABLE COLUMN…: once for each table.
title() {
	# shellcheck disable=SC2059 # columns
	[[ ${titled-} == "$1" ]] || printf "\n$format" "${@:2}" | sed 's/ *$//'
	titled=$1
}
format='%-10s %9s  %-21s %-19s %-19s %8s %12s\n'

# line PLACE LINE VARIANT…: a line of a table.
line() {
	local place=$1 line=$2 variant round cells=()
	"$place" native "$line" >/dev/null
	rm -f "$scratch"/{native,R1,one,filter,P1,pinned-P1}
	for ((round = 0; round < rounds; round++)); do
		for variant in "${@:3}"; do
			case $variant in
				pinned-P1) pin='taskset -c 0' pair "$place" P1 "$line" ;;
				*) pair "$place" "$variant" "$line" ;;
			esac
		done
	done
	for variant in R1 one filter; do
		cells+=("$(median <"$scratch/$variant") $(middle <"$scratch/$variant")")
	done
	for variant in P1 pinned-P1; do
		[[ ! -e $scratch/$variant ]] || cells+=("$(median <"$scratch/$variant")")
	done
	# shellcheck disable=SC2059 # columns
	printf "$format" "$line" "$(median <"$scratch/native")" "${cells[@]}" | sed 's/ *$//'
}

in_tables=(R1 one filter)
traced=(P1 pinned-P1)
[[ ${P1-} != no ]] || traced=()
for line; do
	case $line in
		start) starts ;;
		*@host)
			[[ ${own-} ]] || prepare_host
			title host work 'host s' 'R1 (max 1.02)   half' 'one id         half' 'filter alone   half' '' ''
			line beside_host "$line" "${in_tables[@]}" ;;
		*)
			title work work 'chroot s' 'R1 (max 1.02)   half' 'one id         half' 'filter alone   half' "${traced[0]-}" "${traced[1]+P1, one core}"
			line work_in "$line" "${in_tables[@]}" "${traced[@]}" ;;
	esac
done
