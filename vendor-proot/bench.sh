#!/bin/bash
# How much slower is a guest than the same work without PRoot?
#
# vendor-proot/bench.sh ROOTFS [LINE...] prints, for each line of work, the time it takes in a
# user-namespace chroot of ROOTFS (native) and how many times that PRoot needs, with its fast paths
# switched off (PROOT_NO_FAST=1) and on: as emulated root (-0), on one core and free to move.
#
# The runs are interleaved and short, the ratio is the median of the ratios of neighbours, so that
# whatever else the machine does hits all alike; on a busy one CLOCK=cpu compares the time on
# processors, of PRoot and its guests, instead. ROUNDS (default 7), PROOT, MODES ("one across"),
# ROOT_OPTION (default -0; set it to the empty string for the caller's own identity). Needs unshare;
# ROOTFS needs find, tar, sh, gcc, make and python3 with numpy for the lines that use them.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
rootfs=$(readlink -f "${1:?usage: bench.sh ROOTFS [LINE...]}")
shift
proot=${PROOT:-$here/build/$(uname -m)/proot}
export PROOT_LOADER=${PROOT_LOADER-$here/build/$(uname -m)/loader}
rounds=${ROUNDS:-7} option=${ROOT_OPTION--0}
work=$(mktemp -d "${TMPDIR:-/tmp}/proot-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
cat >"$work/io.c" <<'C'
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
static void *work(void *number)
{
	char name[64];
	for (int i = 0; i < 500; i++) {
		struct stat st;
		snprintf(name, sizeof name, "/bench/t%ld.%d", (long) number, i);
		int fd = open(name, O_CREAT | O_RDWR, 0600);
		write(fd, name, sizeof name);
		fstat(fd, &st);
		close(fd);
		stat(name, &st);
		unlink(name);
	}
	return 0;
}
int main(void)
{
	pthread_t threads[4];
	for (long i = 0; i < 4; i++)
		pthread_create(&threads[i], 0, work, (void *) i);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], 0);
}
C
cat >"$work/cpu.c" <<'C'
#include <pthread.h>
static void *work(void *x)
{
	volatile double sum = 0;
	for (int i = 1; i < 40000000; i++)
		sum += 1.0 / i;
	return x;
}
int main(void)
{
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], 0, work, 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], 0);
}
C
for name in io cpu; do gcc -O1 -w -static -pthread -o "$work/$name" "$work/$name.c" || true; done
mkdir "$work/src"
for i in $(seq 12); do
    printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int x) { printf("%%d", x); return x + %d; }\n' "$i" "$i" >"$work/src/f$i.c"
done
{ echo 'int main(void) { return 0; }'; } >"$work/src/main.c"
printf 'O=%s\nall: $(O)\n\tgcc -o prog $(O)\n%%.o: %%.c\n\tgcc -O1 -c -o $@ $<\n' "main.o $(seq -s ' ' -f 'f%.0f.o' 12)" >"$work/src/Makefile"
cat >"$work/src/configure" <<'SH'
i=0
while [ $i -lt 12 ]; do
    i=$((i + 1))
    echo "#include <stdio.h>
int main(void) { return 0; }" >conftest$i.c
    gcc -c -o conftest$i.o conftest$i.c && test -s conftest$i.o && result=yes || result=no
    echo "checking $i... $(echo $result | sed 's/yes/YES/;s/no/NO/' | tr A-Z a-z)" >>config.log
    for dir in /usr/local/bin /usr/bin /bin /sbin; do test -x $dir/prog$i && break; expr "x$dir" : 'x/' >/dev/null; done
    rm -f conftest$i.*
done
SH

declare -A command=(
    [find]='find /usr -size +100000k'
    [du]='du -s /usr'
    [ls]='ls -lR /usr/share /usr/lib >/dev/null'
    [tar]='tar -cf - /usr/share/perl* /usr/include /usr/lib/python3* 2>/dev/null | cat >/dev/null'
    [files]='i=0; while [ $i -lt 400 ]; do i=$((i + 1)); echo $i >/bench/f$i; done; rm -r /bench/f*'
    [stat]='for i in 1 2 3 4 5 6 7 8; do stat /usr/bin/* >/dev/null; done'
    [exec]='i=0; while [ $i -lt 150 ]; do i=$((i + 1)); /bin/true; done'
    [fork]='i=0; while [ $i -lt 400 ]; do i=$((i + 1)); (:); done'
    [configure]='cp /bench/src/configure /bench && cd /bench && sh ./configure'
    [make]='rm -rf /bench/m; cp -r /bench/src /bench/m && make -s -C /bench/m -j2'
    [numpy]='python3 -c "import numpy"'
    [cpu]='/bench/cpu'
    [threads]='/bench/io'
)
order='find du ls tar files stat exec fork configure make numpy cpu threads'
[ $# -gt 0 ] && order="$*"

# run VARIANT LINE: the seconds it takes.
run() {
    local TIMEFORMAT='%R %U %S'
    {
        time case $1 in
            native) unshare -r ${pin:+taskset -c 0} chroot "$rootfs" /bin/sh -c "${command[$2]}" ;;
            off) PROOT_NO_FAST=1 ${pin:+taskset -c 0} "$proot" $option -r "$rootfs" -b /proc -b /dev -w / /bin/sh -c "${command[$2]}" ;;
            on) ${pin:+taskset -c 0} "$proot" $option -r "$rootfs" -b /proc -b /dev -w / /bin/sh -c "${command[$2]}" ;;
        esac >/dev/null 2>&1 </dev/null || true
    } 2>&1 | awk -v cpu="${CLOCK-}" '{ print cpu == "cpu" ? $2 + $3 : $1 }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { printf "%.2f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

mkdir -p "$rootfs/bench"
cp -r "$work/src" "$work/io" "$work/cpu" "$rootfs/bench/" 2>/dev/null || true
trap 'rm -rf "$work" "$rootfs/bench"' EXIT
printf '%-10s %-7s %9s %9s %9s %9s\n' work cores 'native s' 'off' 'fast' 'off/fast'
for line in $order; do
    for cores in ${MODES:-one across}; do
        pin=; [ "$cores" = across ] || pin=yes
        run native "$line" >/dev/null
        : >"$work/n"; : >"$work/off"; : >"$work/on"; : >"$work/gain"
        for _ in $(seq "$rounds"); do
            a=$(run native "$line") b=$(run off "$line") c=$(run on "$line")
            echo "$a" >>"$work/n"
            awk -v a="$a" -v b="$b" 'BEGIN { print b / a }' >>"$work/off"
            awk -v a="$a" -v c="$c" 'BEGIN { print c / a }' >>"$work/on"
            awk -v b="$b" -v c="$c" 'BEGIN { print b / c }' >>"$work/gain"
        done
        printf '%-10s %-7s %9s %9s %9s %9s\n' "$line" "$cores" "$(median <"$work/n")" "$(median <"$work/off")" "$(median <"$work/on")" "$(median <"$work/gain")"
    done
done
