# shellcheck shell=bash disable=SC2154
# Sanitizers reserve most of the address space, and refuse to run if they can't. Their libraries are
# the host's. Leaks are looked for by a process that isn't to be traced.
with_libraries=(guest -b /usr -b /lib -b /lib64)
for sanitizer in address leak thread; do
    for kind in pie no-pie; do
        program=$sanitizer-$kind
        [ -e "$root/bin/$program" ] || "${CC:-gcc}" -O1 -g -pthread -fsanitize=$sanitizer -"$kind" \
            -o "$root/bin/$program" "$here/tests/sanitized.c" || exit 2
        status "a program with -fsanitize=$sanitizer, $kind" 0 "${with_libraries[@]}" "/bin/$program"
        same 'which does its work' 'done' "$(cat "$work/out" "$work/err")"
    done
done
for program in address leak; do
    status "a leak found by -fsanitize=$program" 23 "${with_libraries[@]}" \
        /bin/env ASAN_OPTIONS=exitcode=23 "/bin/$program-pie" leak
    same 'and reported' 1 "$(grep -c ': 100 byte(s) leaked in 1 allocation(s)' "$work/err")"
done
