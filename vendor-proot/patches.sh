#!/bin/bash
# Turns the patch queue into a git repository and back.
#
# vendor-proot/patches.sh open: build/queue becomes the source with one commit per patch.
# vendor-proot/patches.sh save: the commits of build/queue replace the files in patches/. Those whose
# name begins with 05/, 06/ or 07/ are numbered from 0501, 0601 or 0701 on.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
queue=$PWD/build/queue patches=$PWD/patches
in_queue() { git -C "$queue" -c user.name=queue -c user.email=queue@localhost -c core.excludesFile= "$@"; }

case ${1-} in
    open)
        [ ! -e "$queue" ] || { echo "patches.sh: $queue exists; save or remove it first" >&2; exit 1; }
        tarball=$(./fetch.sh)
        mkdir -p "$queue"
        tar -xzf "$tarball" -C "$queue" --strip-components=1 --no-same-owner
        in_queue init -q -b queue
        in_queue add -f -A
        in_queue commit -q -m "PRoot's release"
        in_queue tag base
        for patch in "$patches"/*.patch; do
            name=$(basename "$patch" .patch)
            case $name in 0[5-7]*) name=${name/-/-${name:0:2}\/} ;; esac
            patch -s --no-backup-if-mismatch -p1 -d "$queue" <"$patch"
            in_queue add -f -A
            sed "/^diff --git /,\$d; 1s,^Subject:,${name#*-}:," "$patch" | in_queue commit -q -F -
        done
        ;;
    save)
        rm -f "$patches"/*.patch
        number=([5]=500 [6]=600 [7]=700)
        for commit in $(in_queue rev-list --reverse base..queue); do
            name=$(in_queue log -1 --format=%s "$commit")
            name=${name%%:*}
            case $name in
                0[5-7]/*) group=${name:1:1} ;;
                *) group=0 ;;
            esac
            number[group]=$((number[group] + 1))
            {
                in_queue log -1 --format=%B "$commit" | sed '1s/^[^:]*:/Subject:/'
                in_queue diff --no-color --no-ext-diff "$commit~" "$commit" | sed '/^index /d'
            } >"$patches/$(printf %04d "${number[group]}")-${name#0[5-7]/}.patch"
        done
        ;;
    *)
        sed -n '2,6s/^# \?//p' "$0"
        exit 2
        ;;
esac
