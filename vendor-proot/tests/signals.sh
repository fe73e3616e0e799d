# shellcheck shell=bash disable=SC2016,SC2154
# Signals sent to PRoot reach the main process, once.

# counted SIGNAL TARGET-PREFIX: how often the guest's trap runs when SIGNAL is sent to PRoot (or
# with the prefix '-' to its whole process group)
counted() {
    : >"$work/out"
    setsid env --default-signal "$engine/proot" -r "$root" -b "$work:/mnt" -w / sh -c "
        n=0; trap 'n=\$((n + 1))' $(kill -l "$1"); echo ready >/mnt/out
        i=0; while [ \$i -lt 8 ]; do sleep 0.03; i=\$((i + 1)); done; exit \$n" </dev/null 2>/dev/null &
    until [ -s "$work/out" ]; do sleep 0.01; done
    kill -s "$1" -- "$2$!"
    wait $!
    echo $?
}

# in_time COUNT ARGUMENTS: what it counts; again, four times at most, when that is 2. PRoot knows what
# comes twice by its coming within 100 ms, which a busy machine may not manage.
in_time() {
    local count
    for _ in 1 2 3 4 5; do
        count=$("$@")
        [ "$count" = 2 ] || break
    done
    echo "$count"
}
for signal in TERM INT HUP QUIT USR1 USR2 WINCH ALRM XCPU RTMIN+1 RTMAX; do
    same "$signal to PRoot" 1 "$(counted $signal '')"
    for _ in 1 2 3; do
        same "$signal to the process group" 1 "$(in_time counted $signal -)"
    done
done

guest sleep 9 </dev/null 2>/dev/null &
sleep 0.2
kill -TERM $!
wait $!
same 'TERM without a trap' 143 $?
guest --kill-on-exit sh -c 'sleep 9 & sleep 9 & exec sleep 9' </dev/null 2>/dev/null &
sleep 0.2
kill -HUP $!
wait $!
same 'HUP ends the whole guest' 129 $?
guest sh -c 'sleep 9 & exit 3' </dev/null 2>/dev/null &
sleep 0.2
kill -TERM $!
wait $!
same 'TERM reaches those who remain' 3 $?
if command -v script >/dev/null; then
    pattern='n=0; trap "n=\$((n + 1))" INT; for i in 1 2 3 4 5 6; do sleep 0.1; done; echo "<\$n>"'
    # Who is started in the background may ignore the signal, and could not trap it then.
    # shellcheck disable=SC2086
    output=$( (sleep 0.3; printf '\003'; sleep 0.5) | TERM=dumb env --default-signal=INT script -qec "$engine/proot -r $root sh -c '${pattern//\\/}'" /dev/null)
    same 'a Ctrl-C on the terminal' '<1>' "$(grep -o '<.*>' <<<"$output")"
fi
status 'the guest cannot signal PRoot' 0 guest sh -c 'kill -TERM $PPID; sleep 0.2'

# relayed SIGNAL: the same when the whole group, with a parent of PRoot that relays, is signaled.
relayed() {
    : >"$work/out"
    setsid env --default-signal bash -c '
        trap "kill -s $2 \$child" "$2"
        "$0" -r "$1" -b "$3:/mnt" -w / sh -c "
            n=0; trap \"n=\\\$((n + 1))\" $2; echo ready >/mnt/out
            i=0; while [ \$i -lt 12 ]; do sleep 0.03; i=\$((i + 1)); done; exit \$n" &
        child=$!
        wait $child; wait $child' "$engine/proot" "$root" "$1" "$work" </dev/null 2>/dev/null &
    until [ -s "$work/out" ]; do sleep 0.01; done
    kill -s "$1" -- "-$!"
    wait $!
    echo $?
}
for signal in TERM HUP USR1; do
    for _ in 1 2 3; do same "$signal to the group and relayed" 1 "$(in_time relayed $signal)"; done
done
