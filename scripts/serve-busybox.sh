#!/bin/bash
# Serves the image demo/busybox:latest, made from busybox-static, from a docker-registry on a free
# loopback port: serve-busybox.sh DIR. Writes HOST:PORT to DIR/address when the image is there, and
# runs until it is killed.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
cd "${1:?usage: $0 DIR}"
export HOME=$PWD

"$here/serve-registry.sh" "$PWD/registry" &
server=$!
trap 'kill "$server"' EXIT
until [[ -s registry/address ]]; do kill -0 "$server"; sleep 0.1; done
address=$(cat registry/address)

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
