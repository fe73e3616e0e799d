# shellcheck shell=bash disable=SC2154
# What programs do with processes and paths has the same result as without PRoot.
"${CC:-gcc}" -O1 -static -o "$root/bin/kernel" "$here/tests/kernel.c" || exit 2
for case in forks traced links renames waits names; do
    rm -rf "$root/tmp/k"
    mkdir -p "$root/tmp/k"
    status "$case, without PRoot" 0 env -C "$root/tmp/k" "$root/bin/kernel" "$case"
    cat "$work/out"
    for options in '' -0; do
        rm -rf "$root/tmp/k"
        mkdir "$root/tmp/k"
        # shellcheck disable=SC2086
        status "$case $options" 0 guest $options -w /tmp/k kernel "$case"
        cat "$work/out"
    done
done
rm -rf "$root/tmp/k"
mkdir "$root/tmp/k"
status 'another root' 0 guest -0 -w /tmp/k kernel chroot
status 'tracers of processes that are being made' 0 guest kernel attach
status 'the main process asks to be traced' 0 guest kernel traced
rm -rf "$root/tmp/k"
