# shellcheck shell=bash disable=SC2154
# Sanitizers reserve most of the address space, and refuse to run if they can't. Their libraries are
# the host's.
for sanitizer in address leak thread; do
    for kind in pie no-pie; do
        program=$root/tmp/$sanitizer-$kind
        [ -e "$program" ] || "${CC:-gcc}" -O1 -g -pthread -fsanitize=$sanitizer -"$kind" \
            -o "$program" "$here/tests/sanitized.c" || exit 2
        status "a program with -fsanitize=$sanitizer, $kind" 0 \
            guest -b /usr -b /lib -b /lib64 /bin/env ASAN_OPTIONS=detect_leaks=0 LSAN_OPTIONS=detect_leaks=0 \
            "/tmp/$sanitizer-$kind"
        same 'which does its work' done "$(cat "$work/out" "$work/err")"
    done
done
