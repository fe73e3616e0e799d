# shellcheck shell=bash disable=SC2016,SC2154
# Directories that are bound are busy, as mount points are; bound files can be replaced.
fresh() {
    rm -rf "$root/tmp" "$work/shared"
    mkdir -p "$root"/tmp/{bound/hidden,other,above} "$work/shared/in"
}
moves='cd /tmp
for i in "rmdir bound" "rmdir bound/" "rm -r bound" "mkdir bound/in" "mv -T bound other" "mv -T other bound" \
    "mv -T above elsewhere" "mv -T bound/in bound/out" "rmdir other"; do
    busybox $i 2>/dev/null && echo "$i" || echo "not $i"
done
busybox find . | busybox sort | busybox xargs'
expected='not rmdir bound
not rmdir bound/
not rm -r bound
mkdir bound/in
not mv -T bound other
not mv -T other bound
mv -T above elsewhere
mv -T bound/in bound/out
rmdir other
. ./bound ./bound/out ./elsewhere'
if unshare -Urm true 2>/dev/null; then
    fresh
    same 'mount points' "$expected" "$(unshare -Urm sh -c 'mount --bind "$1/shared" "$1/root/tmp/bound" && exec "$1/root/bin/busybox" chroot "$1/root" /bin/sh -c "$2"' - "$work" "$moves" 2>&1)"
else
    echo 'skipped: actual mount points (no user namespaces here)'
fi
for options in '' -0; do
    fresh
    # shellcheck disable=SC2086
    status "bound directories $options" 0 guest $options --bind-rw "$work/shared" /tmp/bound sh -c "$moves"
    same "are busy $options" "$expected" "$(cat "$work/out")"
    same "and still there $options" 'hidden out' "$(ls "$root/tmp/bound") $(ls "$work/shared")"
done
echo old >"$work/shared/file"
status 'a bound file' 0 guest --bind-rw "$work/shared/file" /tmp/file sh -c 'busybox sed -i s/old/new/ /tmp/file'
same 'can be replaced' new "$(cat "$work/shared/file")"
rm -rf "$root/tmp"
mkdir "$root/tmp"
