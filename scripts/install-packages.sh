#!/bin/bash
# Installs the packages that packages.txt lists for the given PURPOSEs and that are missing, as root
# or through sudo.
set -euo pipefail

[[ $# -gt 0 ]] || { echo "usage: $0 PURPOSE…" >&2; exit 2; }
list=$(dirname "$0")/packages.txt
if ! command -v apt-get >/dev/null; then
	echo "$0: this is neither Debian nor Ubuntu; $list lists the packages to install" >&2
	exit 1
fi

missing=()
while read -r purpose package; do
	[[ " $* " == *" $purpose "* ]] || continue
	name=${package%:*}
	# NAME:ARCH is only wanted on that architecture.
	[[ $package != *:* || ${package#*:} == $(dpkg --print-architecture) ]] || continue
	state=$(dpkg-query --show --showformat '${db:Status-Status}' "$name" 2>/dev/null || true)
	[[ $state == installed* ]] || missing+=("$name")
done < <(grep -v '^#' "$list")
[[ ${#missing[@]} -gt 0 ]] || exit 0

echo "installing ${missing[*]}"
sudo=(); [[ $(id -u) == 0 ]] || sudo=(sudo)
"${sudo[@]}" apt-get update --quiet --quiet
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --quiet --quiet \
	-o Dpkg::Use-Pty=0 "${missing[@]}" >/dev/null
