#!/bin/bash
# Runs a program of four MPI ranks, each in its own `udocker run`, thirty times each by `mpirun` and
# by Slurm's `srun --mpi=pmix` on one node and on two.
#
# scripts/mpi-tests.sh UDOCKER [TIMES] installs what it needs (packages.txt), through sudo where the
# caller is not root. Everything else is the user's own, for root the test user's, in a temporary
# folder: authentication, controller, two nodes and the container. MPI_ROOT=DIR keeps the
# container's root tree there for the next time. Needs Debian, and the PRoot of vendor-proot/build.sh.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
udocker=$(readlink -f "${1:?usage: mpi-tests.sh UDOCKER [TIMES]}") times=${2:-30}

if [ -z "${MPI_TESTS_WORK-}" ]; then
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
    [ "${#daemons[@]}" -eq 0 ] || kill -KILL "${daemons[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    chmod -R u+rwX "$work" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# The container has the host's Debian and its Open MPI.
archive=$("$here/debian-mirror.sh") || { echo "$0: apt knows no archive" >&2; exit 1; }
engine=$here/../vendor-proot/build/$(uname -m)
if [ ! -e "$root/usr/bin/mpirun" ]; then
    mkdir -p "$root"
    PROOT_LOADER=$engine/loader PROOT_TMP_DIR=$work "$engine/proot" --kill-on-exit -0 -w / \
        debootstrap --variant=minbase --include=openmpi-bin "${archive% *}" "$root" "${archive#* }" >"$work/log" 2>&1 ||
        { tail -n 5 "$work/log"; exit 1; }
fi
tar -C "$root" --exclude=./dev/* --exclude=./proc/* -cf - . | "$udocker" import --tocontainer --name=mpi - >/dev/null

cat >"$work/ranks.c" <<'C'
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	int rank, size, sum, i;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	for (i = 0; i < 100; i++)
		MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	if (rank == 0)
		printf("%d ranks, sum %d, %s\n", size, sum, access("/usr/sbin/slurmd", F_OK) ? "inside" : "outside");
	MPI_Finalize();
	return 0;
}
C
mpicc -O1 -o "$work/ranks" "$work/ranks.c"
inside=("$udocker" -q run --hostenv --hostauth "--user=$USER" -v "$work" -v /tmp -v /dev/shm mpi "$work/ranks")

# Two nodes, their controller and its authentication, all of this user's.
dd if=/dev/urandom of="$work/key" bs=1 count=1024 status=none
chmod 400 "$work/key"
mkdir -m 711 "$work/munge"
munged --foreground --force --key-file="$work/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
    --seed-file="$work/munge/seed" --log-file="$work/munge/log" --num-threads=2 >/dev/null 2>&1 &
daemons+=($!)
host=$(hostname -s) port=$((20000 + RANDOM % 10000))
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$USER
SlurmdUser=$USER
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool.%n
TmpFS=$work/tmp.%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=pmix
ReturnToService=2
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=2
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=2
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE
CONF
mkdir "$work/state"
until [ -S "$work/munge/socket" ]; do sleep 0.1; done
slurmctld -D -c >/dev/null 2>&1 &
daemons+=($!)
for node in node1 node2; do
    mkdir "$work/spool.$node" "$work/tmp.$node"
    slurmd -D -N "$node" >/dev/null 2>&1 &
    daemons+=($!)
done
for _ in $(seq 100); do
    [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ] && break
    sleep 0.2
done

failed=0
# repeat NAME COMMAND...: runs it so many times and counts the right answers.
repeat() {
    local name=$1 right=0
    shift
    for _ in $(seq "$times"); do
        if [ "$(timeout -k 5 120 "$@" 2>"$work/log")" = '4 ranks, sum 6, inside' ]; then
            right=$((right + 1))
        else
            tail -n 3 "$work/log"
        fi
    done
    echo "$name: $right of $times"
    [ "$right" -eq "$times" ] || failed=1
}
repeat 'mpirun' mpirun --oversubscribe -n 4 "${inside[@]}"
repeat 'srun --mpi=pmix, one node' srun --mpi=pmix -N 1 -n 4 --overcommit "${inside[@]}"
# Open MPI takes two nodes on one machine for two machines, but finds the same shared memory.
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo
repeat 'srun --mpi=pmix, two nodes' srun --mpi=pmix -N 2 -n 4 --overcommit "${inside[@]}"
exit "$failed"
