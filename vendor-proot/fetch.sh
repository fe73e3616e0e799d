#!/bin/bash
# Fetches the pinned PRoot source tarball and prints its path.
#
# Tried in this order: $PROOT_TARBALL, a copy fetched before, the package archive that
# this machine's apt already uses, upstream's release archive. Whatever the way, the file
# must match the SHA-256 in SOURCE.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
# shellcheck source=SOURCE
. ./SOURCE
cache=build/download
tarball=$PWD/$cache/$file

matches() { [ -f "$1" ] && echo "$sha256  $1" | sha256sum --check --status; }

# apt's index is read only to learn the tarball's address, so it need not be signed or
# recent: the pinned hash decides. Debian's newest suites carry the source, Ubuntu's newest may.
from_apt() {
    work=$(mktemp -d "$PWD/$cache/apt.XXXXXX")
    mkdir -p "$work"/{state/lists/partial,cache/archives/partial}
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        sort -u | grep -v -- -security | awk '
            $1 == "Debian" && $2 == "main" { print "deb-src [trusted=yes]", $3, "sid main"
                                             print "deb-src [trusted=yes]", $3, "forky main" }
            $1 == "Ubuntu" && $2 == "universe" { print "deb-src [trusted=yes]", $3, "devel universe" }
        ' >"$work/sources.list"
    options=(-qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State=$work/state" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User= -o Acquire::Languages=none
        -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false)
    apt-get "${options[@]}" update >/dev/null 2>&1
    address=$(apt-get "${options[@]}" source --print-uris --only-source proot 2>/dev/null |
        awk -v file="$file" '$2 == file { gsub("\x27", "", $1); print $1; exit }')
    rm -rf "$work"
    [ -n "$address" ] && /usr/lib/apt/apt-helper -o APT::Sandbox::User= \
        download-file "$address" "$tarball" "SHA256:$sha256" >/dev/null 2>&1
}

from_upstream() {
    curl -fsSL --retry 2 --connect-timeout 10 -o "$tarball" "$upstream" 2>/dev/null ||
        wget -q -T 10 -t 2 -O "$tarball" "$upstream" 2>/dev/null
}

mkdir -p "$cache"
if [ -n "${PROOT_TARBALL:-}" ]; then
    matches "$PROOT_TARBALL" && exec readlink -f "$PROOT_TARBALL"
    echo "fetch.sh: $PROOT_TARBALL is not $file (SHA-256 $sha256)" >&2
    exit 1
fi
if matches "$tarball" || { from_apt && matches "$tarball"; } || { from_upstream && matches "$tarball"; }; then
    echo "$tarball"
    exit
fi
rm -f "$tarball"
echo "fetch.sh: cannot fetch $file (SHA-256 $sha256) from apt's archive or from $upstream;" \
    "fetch it elsewhere and set PROOT_TARBALL=FILE" >&2
exit 1
