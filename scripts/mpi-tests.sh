#!/bin/bash
# Runs a program of four MPI ranks, each in its own `udocker run`, thirty times each by `mpirun` and
# by Slurm's `srun --mpi=pmix` on one node and on two.
#
# scripts/mpi-tests.sh UDOCKER [TIMES] installs what it needs (packages.txt), through sudo if the
# caller is not root. Cluster and container belong to the caller, or for root to the test user, and
# are in a temporary directory. MPI_ROOT=DIR keeps the container's root tree for the next run. Needs
# Debian, and the PRoot of vendor-proot/build.sh.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
udocker=$(readlink -f "${1:?usage: mpi-tests.sh UDOCKER [TIMES]}") times=${2:-30}
if [[ -z ${MPI_TESTS_WORK-} ]]; then
	"$here/install-packages.sh" build mpi
	[[ $(id -u) != 0 ]] || "$here/make-test-user.sh"
	exec env MPI_TESTS_WORK=yes "$here/as-test-user.sh" "$here/mpi-tests.sh" "$udocker" "$times"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/mpi-tests.XXXXXX")
root=${MPI_ROOT:-$work/root}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=$work UDOCKER_DIR=$work/udocker SLURM_CONF=$work/slurm.conf
USER=$(id -un)
export USER
daemons=()
# shellcheck disable=SC2317
finish() {
	[[ ${#daemons[@]} == 0 ]] || kill -KILL "${daemons[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	chmod -R u+rwX "$work" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

# The container has the host's Debian and its Open MPI.
archive=$("$here/debian-mirror.sh") || { echo "$0: apt knows no archive" >&2; exit 1; }
engine=$here/../vendor-proot/build/$(uname -m)
if [[ ! -e $root/usr/bin/mpirun ]]; then
	mkdir -p "$root"
	PROOT_LOADER=$engine/loader PROOT_TMP_DIR=$work "$engine/proot" --kill-on-exit -0 -w / \
		debootstrap --variant=minbase --include=openmpi-bin "${archive% *}" "$root" "${archive#* }" >"$work/log" 2>&1 ||
		{ tail -n 5 "$work/log"; exit 1; }
fi
tar -C "$root" --exclude=./dev/* --exclude=./proc/* -cf - . | "$udocker" import --tocontainer --name=mpi - >/dev/null
mpicc -O1 -o "$work/ranks" "$here/mpi/ranks.c"
inside=("$udocker" -q run --hostenv --hostauth "--user=$USER" -v "$work" -v /tmp -v /dev/shm mpi "$work/ranks")
# shellcheck source=scripts/mpi/cluster.sh
. "$here/mpi/cluster.sh"

failed=0
# repeat NAME COMMAND…: runs it $times times and counts the right answers.
repeat() {
	local right=0
	for ((run = 0; run < times; run++)); do
		answer=$(timeout -k 5 120 "${@:2}" 2>"$work/log") || true
		if [[ $answer == '4 ranks, sum 6, inside' ]]; then ((++right)); else tail -n 3 "$work/log"; fi
	done
	echo "$1: $right of $times"
	((right == times)) || failed=1
}
repeat 'mpirun' mpirun --oversubscribe -n 4 "${inside[@]}"
repeat 'srun --mpi=pmix, one node' srun --mpi=pmix -N 1 -n 4 --overcommit "${inside[@]}"
# Open MPI takes two nodes on one machine for two machines, but finds the same shared memory.
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo
repeat 'srun --mpi=pmix, two nodes' srun --mpi=pmix -N 2 -n 4 --overcommit "${inside[@]}"
exit "$failed"
