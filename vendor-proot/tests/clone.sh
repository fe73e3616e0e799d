# shellcheck shell=bash disable=SC2154
# Processes that ask not to be traced are in the guest as well.
mkdir -p "$root/tmp" "$work/host"
touch "$work/host/file"
[ -e "$root/bin/clone" ] || "${CC:-gcc}" -O1 -static -o "$root/bin/clone" "$here/tests/clone.c" || exit 2
for options in '' -0; do
    # shellcheck disable=SC2086
    status "clone with CLONE_UNTRACED $options" 0 guest $options clone "$work/host/file"
    same "without a word $options" '' "$(cat "$work/out" "$work/err")"
done
