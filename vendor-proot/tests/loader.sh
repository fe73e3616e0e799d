# shellcheck shell=bash disable=SC2016,SC2154
# A ready loader makes temporary folders unnecessary.
status 'with an empty temporary folder' 0 guest sh -c 'true; true'
same 'which stays empty' '' "$(ls -A "$work/empty")"
guest sleep 9 </dev/null >/dev/null 2>&1 &
sleep 0.1
kill -KILL $! 2>/dev/null; wait $! 2>/dev/null
same 'also when killed' '' "$(ls -A "$work/empty")"
status 'with a missing temporary folder' 0 env PROOT_TMP_DIR=/no/such/folder "$engine/proot" -r "$root" -w / true
same 'and without a word' '' "$(cat "$work/err")"
status 'the guest does not see where it is' 1 guest sh -c 'env | busybox grep -q "^PROOT_\(LOADER\|LOADER_32\|TMP_DIR\)="'
if [ -e "$PROOT_LOADER_32" ] && echo '
    .globl _start
    _start: movl $1, %eax; movl $42, %ebx; int $0x80' | gcc -m32 -nostdlib -static -x assembler -o "$root/tmp/i386" - 2>/dev/null; then
    status 'an i386 guest' 42 guest /tmp/i386
fi
[ -e "$root/bin/exec" ] || "${CC:-gcc}" -O1 -static -o "$root/bin/exec" "$here/tests/exec.c" || exit 2
status 'a filter that denies open' 0 guest exec filter
same 'does not prevent execution' fine "$(cat "$work/out" "$work/err")"
status 'as many open files as the soft limit allows' 0 guest exec descriptors 20 21
same 'do not prevent execution' fine "$(cat "$work/out" "$work/err")"
status 'as many as the hard limit allows' 182 guest exec descriptors 20 20
same 'do, which is reported' "proot error: the loader can't open FILE: too many open files, errno 24" \
    "$(sed "s,'/.*',FILE," "$work/err")"
