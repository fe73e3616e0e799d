# shellcheck shell=bash disable=SC2016,SC2154
# System calls find what is in the guest, and nothing that is on the host only.
mkdir -p "$root/guest" "$root/tmp" "$work/host"
cp "$root/bin/probe" "$root/guest/prog"
cp "$root/bin/probe" "$work/host/prog"
probe=$root/bin/probe
for folder in "$root/guest" "$work/host"; do
    (cd "$folder" && rm -f sock && exec "$probe" receive sock) &
    receivers+=($!)
done
until [ -S "$root/guest/sock" ] && [ -S "$work/host/sock" ]; do sleep 0.01; done
# Answers that are the same whatever the path is.
refused='fanotify|file_[gs]etattr|fsopen|fspick|future|[gs]etxattrat|io_uring_setup|landlock|listmount|listxattrat|mount_setattr|move_mount|open_tree(_attr)?|openat2-r(oot|elative)|removexattrat|statmount'
for options in '' -0; do
    # shellcheck disable=SC2086
    status "looking at the guest $options" 0 guest $options probe look /guest/prog /guest/sock
    same "all that is allowed is found $options" '' "$(grep -vE "^($refused) ENOSYS$| OK$" "$work/out")"
    same "the rest is refused $options" 20 "$(grep -c ' ENOSYS$' "$work/out")"
    # shellcheck disable=SC2086
    status "looking at the host $options" 0 guest $options probe look "$work/host/prog" "$work/host/sock"
    same "nothing is found $options" '' "$(grep -vE " (ENOENT|ENOSYS)$|^(openat|openat2-dir|fstatat) EBADF$|^cwd-empty EXDEV$" "$work/out")"
done
kill "${receivers[@]}"
wait "${receivers[@]}" 2>/dev/null
receivers=()

status 'a program from memory' 0 guest probe memory
same 'is executed' 'from memory' "$(cat "$work/out")"
status 'the root link' 0 guest sh -c '[ "$(busybox readlink /proc/self/root)" = / ] && [ -x /proc/self/root/bin/sh ]'

# The path of a socket is too long on the host.
long=$root/$(printf 'long%.0s' 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25)
mkdir -p "$long/bin"
cp "$root/bin/probe" "$long/bin"
status 'a socket with a long path' 0 "$engine/proot" -r "$long" -b /proc probe socket /s
same 'has its own name' '/s /s' "$(cat "$work/out")"
same 'and place' yes "$([ -S "$long/s" ] && echo yes)"
rm -r "$long"
status 'a folder removed as by musl' 0 guest sh -c 'busybox mkdir -p /tmp/gone && probe remove /tmp/gone && [ ! -e /tmp/gone ]'
status 'a call that is restarted, and its arguments' 0 guest sh -c 'busybox mkfifo /tmp/fifo && probe restart /tmp/fifo && rm /tmp/fifo'
rm -f "$root"/tmp/server*
"$probe" post "$work/host/sender" "$root/tmp/server-late" 2>/dev/null &
sender=$!
status 'replies to datagrams' 0 guest sh -c '{ until [ -S /tmp/server ]; do :; done; sleep 0.3; busybox ln /tmp/server /tmp/server-late; } & probe reply'
same 'from the senders by their names in the guest' '/tmp/client /tmp/client /tmp/client ' "$(cat "$work/out")"
wait "$sender"

# syscalls.txt and the source say the same. Numbers that are not in the tables are refused.
source=$here/build/$(uname -m).tree/src/syscall
listed() { sed -n "s/^\([^# ]*\) $1\$/\1/p" "$here/syscalls.txt" | sort; }
cases() { sed -n '/^int translate_syscall_enter/,$p' "$source/enter.c" | grep -o 'case PR_[a-z_0-9]*:' | sed 's/case PR_\(.*\):/\1/' | sort -u; }
filtered() { sed -n "/FilteredSysnum $1\[\]/,/END/s/.*{ PR_\([a-z_0-9]*\),.*/\1/p" "$source/seccomp.c" | sort -u; }
same 'all calls of the tables are listed' '' "$(comm -3 <(listed '.*') <(
    sed -n 's/^\t\[ *[0-9]* \] = PR_\(.*\),$/\1/p' "$source"/sysnums-{x86_64,i386,x32,arm64}.h | grep -v arch_specific | sort -u))"
same 'all that is treated is handled' '' "$(comm -3 <(listed '\(path\|refused\|emulated\|read-only\)') <(cases))"
same 'and traced' '' "$(comm -3 <(listed '\(path\|refused\|emulated\|result\|watched\)') <(filtered proot_sysnums))"
same 'read-only ones too' '' "$(comm -3 <(listed read-only) <(filtered read_only_sysnums | comm -23 - <(listed path)))"
if "$root/bin/probe" int80 "$root/bin/probe" 2>/dev/null; then
    status 'the 32-bit interface from 64-bit code' 38 guest probe int80 /bin/probe
fi
long=$(printf '%255s' '' | tr ' ' n)
status 'the longest name' 0 guest sh -c "cd /tmp && echo x >$long && cat /tmp/$long && busybox mv $long l && busybox mkdir $long && ls /tmp/$long && rm l && busybox rmdir $long"
status 'a longer one' 1 guest sh -c "echo x >/tmp/n$long"
