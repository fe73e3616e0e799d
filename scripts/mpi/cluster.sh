# shellcheck shell=bash
# Starts a Slurm cluster of one user, for mpi-tests.sh: authentication, controller, and two nodes on
# this machine. `work` is its directory; SLURM_CONF names the file to write; the ids of the
# processes are appended to `daemons`.

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
until [[ -S $work/munge/socket ]]; do sleep 0.1; done
slurmctld -D -c >/dev/null 2>&1 &
daemons+=($!)
for node in node1 node2; do
	mkdir "$work/spool.$node" "$work/tmp.$node"
	slurmd -D -N "$node" >/dev/null 2>&1 &
	daemons+=($!)
done
for _ in {1..100}; do
	[[ $(sinfo -h -t idle -o %D 2>/dev/null) != 2 ]] || break
	sleep 0.2
done
