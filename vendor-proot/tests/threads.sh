# shellcheck shell=bash disable=SC2016,SC2154
# Threads share what they have to, and can execute programs.
status 'execve by a thread' 7 guest -w /bin probe threads
same 'chdir and brk in threads' $'/tmp shared\n/tmp apart\n/tmp' "$(cat "$work/out")"
status 'with --kill-on-exit' 7 guest --kill-on-exit probe threads
status 'many times' 0 guest sh -c 'for i in 1 2 3 4 5 6 7 8 9; do probe threads >/dev/null; [ $? = 7 ] || exit 1; done'
