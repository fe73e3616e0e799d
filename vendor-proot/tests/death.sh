# shellcheck shell=bash disable=SC2016,SC2154
# No guest outlives PRoot, whenever that is killed.
survivors() { grep -lsa "PROOT_TEST_MARK=$1" /proc/[0-9]*/environ | wc -l; }

for delay in 0 0.001 0.002 0.003 0.004 0.005 0.006 0.007 0.008 0.01 0.012 0.015 0.02 0.03 0.05 0.1; do
    for _ in 1 2 3; do
        PROOT_TEST_MARK=$$.$delay "$engine/proot" -r "$root" sh -c 'sleep 9 & (sleep 9; true) & for i in $(busybox seq 300); do true & done; sleep 9' \
            </dev/null >/dev/null 2>&1 &
        sleep $delay
        kill -KILL $! 2>/dev/null; wait $! 2>/dev/null
    done
    left=1
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        left=$(survivors $$.$delay)
        [ "$left" -gt 0 ] || break
        sleep 0.05
    done
    same "KILL after $delay s leaves nothing" 0 "$left"
done
for signal in SEGV ABRT; do
    PROOT_TEST_MARK=$$.$signal guest sh -c 'sleep 9 & sleep 9' </dev/null >/dev/null 2>&1 &
    sleep 0.1
    kill -s $signal $! && wait $! 2>/dev/null
    sleep 0.1
    same "$signal leaves nothing" 0 "$(survivors $$.$signal)"
done
