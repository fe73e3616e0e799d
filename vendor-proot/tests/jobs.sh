# shellcheck shell=bash disable=SC2154
# What is stopped stays so, as shells and tracers expect.
"${CC:-gcc}" -O1 -static -pthread -o "$root/bin/jobs" "$here/tests/jobs.c" || exit 2
for case in stops terminal tracer; do
    status "$case, without PRoot" 0 "$root/bin/jobs" "$case"
    status "$case" 0 guest -0 jobs "$case"
done

# continued SIGNAL: how a guest that stops itself ends, once PRoot gets SIGNAL, then CONT until the end
continued() {
    guest sh -c 'kill -STOP $$; exit 5' </dev/null 2>/dev/null &
    local main
    until main=$(cat "/proc/$!/task/$!/children") && grep -qs -i '^State:.t' "/proc/${main% }/status"; do sleep 0.01; done
    kill -s "$1" $!
    while kill -CONT $! 2>/dev/null; do sleep 0.02; done
    wait $!
    echo $?
}
same 'CONT continues what is stopped' 5 "$(continued CONT)"
same 'HUP and CONT end what is stopped' 129 "$(continued HUP)"
