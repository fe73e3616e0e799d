# shellcheck shell=bash disable=SC2016,SC2154
# Emulated root changes nothing behind the user's back, and keeps access to what it makes.
rm -rf "$root/tmp" "$work/shared"
mkdir -p "$root"/{tmp,mnt} "$work/shared/closed" "$work/shared/open"
echo secret >"$work/shared/none"
echo content >"$work/shared/plain"
chmod 444 "$work/shared/plain"
chmod 000 "$work/shared/none" "$work/shared/closed"
state() { find "$work/shared" -printf '%p %m %C@\n' 2>/dev/null | sort; }
before=$(state)
status 'reading everything' 0 guest -0 -b "$work/shared:/mnt" sh -c 'for i in 1 2 3; do cat /mnt/*; ls -la /mnt /mnt/*; busybox stat /mnt/*/x; done; true'
for _ in 1 2 3 4 5; do
    guest -0 -b "$work/shared:/mnt" sh -c 'while :; do cat /mnt/none; ls -l /mnt/closed/x; echo x >>/mnt/plain; done' >/dev/null 2>&1 </dev/null &
    sleep 0.02
    kill -KILL $!
    wait $! 2>/dev/null
done
same 'leaves modes and change times alone' "$before" "$(state)"
chmod 700 "$work/shared/closed"

status 'without permissions' 0 guest -0 sh -c 'cd /tmp && busybox mkdir -m 0 d && echo x >d/f && busybox chmod 0 d/f && cat d/f && echo y >>d/f &&
    busybox chmod 555 d && echo z >d/g && busybox mkdir -p d/e && busybox chmod 111 d/e && busybox touch d/e/f && busybox rm -r d'
status 'the rest of the mode is as wished' 0 guest -0 sh -c 'cd /tmp && echo x >f && busybox chmod 4051 f && [ "$(busybox stat -c %a f)" = 4651 ] && busybox mkdir -m 1077 d && [ "$(busybox stat -c %a d)" = 1777 ]'
status 'others choose their own mode' 0 guest sh -c 'cd /tmp && echo x >o && busybox chmod 040 o && [ "$(busybox stat -c %a o)" = 40 ]'

if [ "$("$root/bin/probe" openat2 "$work/new" 600; echo $?)" = 0 ]; then
    status 'openat2' 0 guest -0 sh -c 'cd /tmp && probe openat2 o2 40 && cat o2 && [ "$(busybox stat -c %a o2)" = 640 ] && rm o2'
    status 'openat2 by others' 0 guest sh -c 'cd /tmp && probe openat2 o3 40 && [ "$(busybox stat -c %a o3)" = 40 ] && rm -f o3'
fi
mkdir -p "$root"/jail/{bin,proc,sub/deep}
cp "$root/bin/busybox" "$root/jail/bin"
ln -sf busybox "$root/jail/bin/sh"
echo inner >"$root/jail/file"
status 'chroot' 0 guest -0 -b /proc:/jail/proc busybox chroot /jail /bin/sh -c '[ "$(busybox pwd)" = / ] && [ "$(busybox cat /../file)" = inner ] && [ -d /proc/self ] &&
    [ ! -e /jail ] && [ "$(busybox readlink /proc/self/exe)" = /bin/busybox ] && cd /sub && busybox chroot . /bin/busybox true; [ $? = 127 ]'
status 'chroot to the current folder' 0 guest -0 -w /jail sh -c 'busybox chroot . /bin/sh -c "[ -e /file ]" && [ -e /jail/file ]'
status 'chroot to a file' 1 guest -0 busybox chroot /bin/busybox true
touch "$root/jail/jailed"
status 'chroot and back' 0 guest -0 probe chroots /jail
status 'chroot needs root' 1 guest -i 1234:1234 busybox chroot /jail /bin/sh
status 'a read-only bind in a chroot' 0 guest -0 --bind-ro "$work/shared" /jail/sub busybox chroot /jail /bin/sh -c 'cd /sub && ! echo x >new && echo x >/new'
status 'a device' 0 guest -0 sh -c 'cd /tmp && busybox mknod -m 622 device c 1 3 && [ -e device ] && busybox chmod 600 device && ! busybox mknod device c 1 3 && rm device'
status 'an owner whom the user namespace does not map' 0 unshare --user --map-root-user "$engine/proot" -r "$root" -b /proc -b /dev -w / -0 sh -c 'cd /tmp && echo x >f &&
    busybox chown 33:5 f && busybox chown -h 33:5 f && ! busybox chown 33 none 2>/dev/null'
status 'changing the real user only' 0 guest -0 probe owner
rm -r "$root/jail"

# The audit log would refuse what emulated root has to say.
status 'the audit log' 0 guest -0 sh -c 'probe audit; probe as 77 77 probe audit'
same 'is not there for root, as it is for others' "audit EPROTONOSUPPORT
$("$root/bin/probe" audit)" "$(cat "$work/out")"
