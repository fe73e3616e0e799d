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
