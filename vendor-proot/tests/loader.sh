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
