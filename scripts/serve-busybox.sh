#!/bin/bash
# Serves the image demo/busybox:latest, made from busybox-static, from a docker-registry on a free
# loopback port: serve-busybox.sh DIR. Writes HOST:PORT to DIR/address when it is ready, and runs
# until it is killed.
set -euo pipefail
cd "${1:?usage: $0 DIR}"
export HOME=$PWD

cat >registry.yml <<END
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $PWD/registry}}
http: {addr: "127.0.0.1:0"}
END
# Made here, since it is read before the registry writes to it.
: >registry.err
docker-registry serve registry.yml 2>>registry.err &
server=$!
trap 'kill "$server"' EXIT
for _ in {1..200}; do
	address=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' registry.err)
	[[ -z $address ]] || break
	kill -0 "$server" || { cat registry.err >&2; exit 1; }
	sleep 0.1
done
[[ -n $address ]] || { echo "$0: the registry does not start" >&2; cat registry.err >&2; exit 1; }

umoci init --layout image
umoci new --image image:latest
umoci unpack --rootless --image image:latest bundle
mkdir -p bundle/rootfs/{bin,dev,etc,proc,root,sys,tmp}
cp /bin/busybox bundle/rootfs/bin/busybox
for applet in $(busybox --list | grep -vx busybox); do ln -s busybox "bundle/rootfs/bin/$applet"; done
echo 'root:x:0:0:root:/root:/bin/sh' >bundle/rootfs/etc/passwd
echo 'root:x:0:' >bundle/rootfs/etc/group
echo 'PRETTY_NAME="busybox, made from this machine'"'"'s own"' >bundle/rootfs/etc/os-release
umoci repack --image image:latest bundle
umoci config --image image:latest --config.cmd /bin/sh --config.env PATH=/bin
skopeo --insecure-policy copy --dest-tls-verify=false oci:image:latest "docker://$address/demo/busybox:latest"
echo "$address" >address
wait "$server"
