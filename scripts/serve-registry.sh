#!/bin/bash
# Serves a docker-registry on a free loopback port: serve-registry.sh DIR. Keeps its data in DIR,
# writes HOST:PORT to DIR/address once it listens, and runs until it is killed.
set -euo pipefail
mkdir -p "${1:?usage: $0 DIR}"
cd "$1"
cat >registry.yml <<END
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $PWD/data}}
http: {addr: "127.0.0.1:0"}
END
: >log
docker-registry serve registry.yml 2>>log &
server=$!
trap 'kill "$server"' EXIT
for _ in {1..200}; do
	address=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' log)
	[[ -z $address ]] || break
	kill -0 "$server" 2>/dev/null || { cat log >&2; exit 1; }
	sleep 0.1
done
[[ -n $address ]] || { echo "$0: the registry does not start" >&2; cat log >&2; exit 1; }
echo "$address" >address.new
mv address.new address
wait "$server"
