# shellcheck shell=bash disable=SC2016,SC2154
# The exit status is the main process's.
status 'status of the main process' 3 guest sh -c 'exit 3'
status 'not that of the last one to end' 3 guest sh -c '(sleep 0.2; exit 7) & exit 3'
status 'the main process ends last' 4 guest sh -c '(exit 7) & sleep 0.2; exit 4'
status 'success' 0 guest true
status 'killed by KILL' 137 guest sh -c 'kill -9 $$'
status 'killed by TERM' 143 guest sh -c 'kill -TERM $$'
status 'killed by SEGV' 139 guest sh -c 'kill -SEGV $$'
status 'a child killed by a signal' 143 guest sh -c 'sh -c "kill -TERM \$\$"'
status 'unknown command' 127 guest no-such-command
status 'unknown path' 127 guest /bin/no-such-command
status 'unknown folder' 127 guest /no-such-folder/command
echo 'not executable' >"$root/tmp/plain"
echo '#!/no/such/interpreter' >"$root/tmp/script"
chmod 644 "$root/tmp/plain"
chmod 755 "$root/tmp/script"
status 'not executable' 126 guest /tmp/plain
status 'a folder' 126 guest /tmp
status 'a script without its interpreter' 127 guest /tmp/script
status 'not executable, by PATH' 126 env PATH=/tmp "$engine/proot" -r "$root" plain

# Its own failures are not the command's; who is traced already cannot ask to be.
status 'an option that there is not' 125 guest --no-such-option true
status 'ptrace is refused' 125 strace -f -o /dev/null "$engine/proot" -r "$root" true

# With --kill-on-exit the end of the main process is the end of all, at once and always.
SECONDS=0
status 'kill-on-exit' 6 guest --kill-on-exit sh -c 'sleep 9 & sleep 9 & exit 6'
status 'kill-on-exit, deeper' 6 guest --kill-on-exit sh -c '(sleep 9 & sleep 9) & sleep 0.1; exit 6'
wrong=0
for _ in $(seq 100); do
    timeout -k 1 20 "$engine/proot" -r "$root" --kill-on-exit sh -c 'sleep 9 & (sleep 9 & sleep 9) & exit 5' >/dev/null 2>&1
    [ $? -eq 5 ] || wrong=$((wrong + 1))
done
same '100 runs that exit right after forking' 0 $wrong
same 'none of them waited' yes "$([ $SECONDS -lt 15 ] && echo yes || echo "no, ${SECONDS}s")"
# A process killed while it forks leaves a child that nobody has told PRoot about.
wrong=0
for _ in $(seq 15); do
    timeout -k 1 20 "$engine/proot" -r "$root" sh -c 'sh -c "for i in \$(busybox seq 200); do true & done" & sleep 0.0$((RANDOM % 9 + 1)); kill -9 $!; exit 5' >/dev/null 2>&1
    [ $? -eq 5 ] || wrong=$((wrong + 1))
done
same '15 runs where a forking process is killed' 0 $wrong
