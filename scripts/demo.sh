#!/bin/bash
# Runs a first container for the user: demo.sh UDOCKER. The image comes from Docker Hub or, if that
# cannot be reached, from a docker-registry on loopback that serves busybox for the time of the
# demo. `demo.sh --hub-is-reachable` only returns whether Docker Hub can be reached.
set -euo pipefail

hub_is_reachable() { curl --silent --max-time 8 --output /dev/null https://registry-1.docker.io/v2/; }
if [[ ${1-} == --hub-is-reachable ]]; then hub_is_reachable; exit; fi
[[ $# == 1 ]] || { echo "usage: $0 UDOCKER|--hub-is-reachable" >&2; exit 2; }

# Emulated root on top of real root protects nothing, so root's demonstration runs as nobody.
here=$(cd "$(dirname "$0")" && pwd)
udocker=$(readlink -f "$1")
work=$(mktemp -d)
mkdir "$work/home"
registry=
stop() {
	[[ -z $registry ]] || { kill "$registry" 2>/dev/null || true; wait "$registry" || true; }
	chmod -R u+rwx "$work"
	rm -rf "$work"
}
trap stop EXIT
as_user=()
if [[ $(id -u) == 0 ]]; then
	echo "(you are root: the container runs as the user nobody, in a home that is removed again)"
	install --mode 755 "$udocker" "$work/udocker"
	chmod 755 "$work" && chown nobody "$work/home"
	as_user=(setpriv --reuid nobody --regid nogroup --clear-groups env HOME="$work/home" TMPDIR="$work/home")
	udocker=$work/udocker
fi
cd "$work"
show() { printf '$ udocker %s\n' "${*@Q}"; "${as_user[@]}" "$udocker" "$@"; }
# shellcheck disable=SC2016 # expanded inside the container
inside='echo "this is $(sed -n "s/^PRETTY_NAME=\"\(.*\)\"/\1/p" /etc/os-release), on $(uname -sm)"; id; echo "$(ls /bin | wc -l) programs in /bin"; touch /root/mine && ls -l /root/mine'

if hub_is_reachable; then
	show pull alpine
	show run --rm alpine sh -c "$inside"
	exit
fi

"$here/serve-busybox.sh" "$work" >"$work/registry.log" 2>&1 &
registry=$!
until [[ -s $work/address ]]; do
	kill -0 "$registry" 2>/dev/null || { cat "$work/registry.log" >&2; exit 1; }
	sleep 0.1
done
image=http://$(cat "$work/address")/demo/busybox:latest
# A repository of its own, so that the user's does not keep an image of a registry that is gone.
export UDOCKER_DIR=$work/home/.udocker
show pull "$image"
show images
show run --rm "$image" sh -c "$inside"
