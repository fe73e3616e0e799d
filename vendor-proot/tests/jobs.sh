# shellcheck shell=bash disable=SC2154
# What is stopped stays so, as shells and tracers expect.
"${CC:-gcc}" -O1 -static -pthread -o "$root/bin/jobs" "$here/tests/jobs.c" || exit 2
for case in stops terminal tracer; do
    status "$case, without PRoot" 0 "$root/bin/jobs" "$case"
    status "$case" 0 guest -0 jobs "$case"
done
