#!/bin/bash
# Shows that Docker's own daemon loads the archives of `save`, and that we read Docker's archives:
# show-docker.sh UDOCKER. Root only, since it starts a daemon, with a data directory of its own and
# no network for containers.
set -euo pipefail
udocker=$(readlink -f "${1:?usage: $0 UDOCKER}")
[[ $(id -u) == 0 ]] || { echo "$0: a daemon needs root" >&2; exit 1; }
"$(dirname "$(readlink -f "$0")")/install-packages.sh" docker
# Since Debian 13 the client is a separate package.
command -v docker >/dev/null || { echo "$0: there is no docker command; install docker-cli" >&2; exit 1; }

work=$(mktemp -d)
chmod 755 "$work"
export HOME=$work/home UDOCKER_ALLOW_ROOT=1 DOCKER_HOST=unix://$work/socket
mkdir "$HOME"
dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
	--iptables=false --ip6tables=false --bridge=none --storage-driver=vfs >"$work/log" 2>&1 &
daemon=$!
trap 'kill "$daemon"; wait "$daemon" || true; rm -rf --one-file-system "$work"' EXIT
until docker version >/dev/null 2>&1; do
	kill -0 "$daemon" 2>/dev/null || { tail -n 5 "$work/log"; exit 1; }
	sleep 0.2
done
echo "Docker $(docker version --format '{{.Server.Version}}')"

cd "$work"
mkdir -p tree/bin
cp "$(command -v busybox)" tree/bin/busybox
ln -s busybox tree/bin/sh
tar --create --file tree.tar --directory tree .
says() { [[ $2 == "$3" ]] || { echo "FAILED: $1: '$2', not '$3'"; exit 1; }; echo "$1"; }
"$udocker" --quiet import tree.tar lab/tool:1
"$udocker" tag lab/tool:1 lab/tool:2

"$udocker" --quiet save lab/tool:1 lab/tool:2 | docker load >/dev/null
says "docker load of two names from standard output" \
	"$(docker run --rm --network=none lab/tool:2 /bin/sh -c 'echo from docker')" "from docker"
"$udocker" --quiet save -o saved.tar lab/tool:1
docker rmi --force lab/tool:1 lab/tool:2 >/dev/null
docker load --quiet --input saved.tar >/dev/null
says "docker load of a file" "$(docker image inspect --format '{{index .RepoTags 0}}' lab/tool:1)" "lab/tool:1"

"$udocker" rmi lab/tool:1 lab/tool:2
docker save lab/tool:1 | "$udocker" --quiet load -i - >/dev/null
says "docker save, from standard input" "$("$udocker" --quiet run --nobanner lab/tool:1 sh -c 'echo from udocker')" "from udocker"
docker create --name made lab/tool:1 /bin/sh >/dev/null
docker export made | "$udocker" --quiet import - lab/exported:1
says "docker export, imported" "$("$udocker" --quiet run --nobanner lab/exported:1 sh -c 'echo exported')" "exported"
"$udocker" --quiet create --name=box lab/tool:1 >/dev/null
"$udocker" --quiet export box | docker import - lab/imported:1 >/dev/null
says "docker import of an exported container" \
	"$(docker run --rm --network=none lab/imported:1 /bin/sh -c 'echo imported')" "imported"
