# shellcheck shell=bash disable=SC2016,SC2154
# What a program is told about itself.
status 'the path of the program' 0 guest -w /bin sh -c './probe vectors ./probe'
status 'found by PATH' 0 guest sh -c 'probe vectors /bin/probe'
long=/bin/$(printf 'long%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25)
ln -sf probe "$root$long"
status 'a path longer than that of the loader' 0 guest sh -c '"$1" vectors "$1"' - "$long"
status 'whatever argv[0] is' 0 guest sh -c 'exec -a other /bin/probe vectors /bin/probe'
rm "$root$long"

mkdir -p "$root/data dir" "$work/shared"
status 'mappings' 0 guest sh -c 'cat /proc/self/maps && cat /proc/$$/task/$$/smaps && cat /proc/self/mounts /proc/self/mountinfo && cat /proc/self/auxv >/dev/null'
same 'have no path of the host' '' "$(grep -F "$work" "$work/out")"
same 'but those of the guest' yes "$(grep -q ' /bin/busybox$' "$work/out" && echo yes)"
(cd "$work" && exec "$root/bin/probe" receive hidden-socket) &
receiver=$!
until [ -S "$work/hidden-socket" ]; do sleep 0.01; done
status 'what else has paths' 0 guest sh -c 'exec 5</bin/sh; cd /bin; probe receive /tmp/shown-socket & until [ -S /tmp/shown-socket ]; do :; done
    cat /proc/net/unix /proc/$$/task/$$/net/unix /proc/self/mountstats; [ ! -e /proc/self/numa_maps ] || cat /proc/self/numa_maps /proc/thread-self/numa_maps
    cat /proc/thread-self/maps
    for i in /proc/self/fd/5 /proc/$$/task/$$/fd/5 /proc/$$/task/$$/exe /proc/$$/task/$$/cwd /proc/$$/task/$$/root /proc/thread-self/exe; do busybox readlink $i; done; kill %1; rm /tmp/shown-socket'
kill "$receiver"
wait "$receiver" 2>/dev/null
same 'has none of the host' '' "$(grep -F -e "$work" -e "$engine" "$work/out" "$work/err")"
same 'but those of the guest ' '2 /bin/busybox /bin/busybox /bin/busybox /bin / /bin/busybox' "$(grep -c ' /tmp/shown-socket$' "$work/out") $(tail -n 6 "$work/out" | xargs)"
rm "$work/hidden-socket"
status 'mounts' 0 guest --bind-ro "$work/shared" '/data dir' sh -c 'cat /proc/mounts; cat /proc/self/mountinfo'
same 'the root' 2 "$(grep -cE '^(1 0 [^ ]+ /|[^ ]+) / ' "$work/out")"
same 'a read-only bind' 2 "$(grep -c ' /data\\040dir .*\bro\b' "$work/out")"
status 'descriptors of them are closed' 0 guest sh -c 'for i in 1 2 3; do cat /proc/self/maps /proc/self/mounts; done >/dev/null; [ "$(busybox ls /proc/$PPID/fd 2>/dev/null | busybox wc -l)" -lt 20 ]'
status 'they can be read under -0' 0 guest -0 sh -c 'while read -r line; do :; done </proc/self/maps && [ "$(busybox df / | busybox wc -l)" = 2 ]'
rmdir "$root/data dir"
status 'mounts of the whole host' 0 "$engine/proot" -r / "$busybox" cat /proc/self/mounts /proc/self/maps
status 'the whole host, read-only' 0 "$engine/proot" --bind-ro / / "$busybox" sh -c "cat /proc/self/mountinfo && ! echo x >'$work/denied'"
