# shellcheck shell=bash
# What the benchmarks of engines do in a guest; for bench.sh and scripts/bench-engine.sh to source.
#
# prepare_work ROOTFS puts programs and sources into ROOTFS/bench; `work` has the lines, for a shell
# of the guest, and `lines` their order. ROOTFS needs find, tar, sh, gcc, make and python3 with
# numpy for the lines that use them.

prepare_work() {
	local bench=$1/bench i
	mkdir -p "$bench/src"
	cat >"$bench/io.c" <<-'C'
	#include <fcntl.h>
	#include <pthread.h>
	#include <stdio.h>
	#include <sys/stat.h>
	#include <unistd.h>
	static void *work(void *number)
	{
		char name[64];
		for (int i = 0; i < 2000; i++) {
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
	cat >"$bench/cpu.c" <<-'C'
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
		pthread_t threads[4];
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], 0, work, 0);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], 0);
	}
	C
	for i in io cpu; do gcc -O1 -w -static -pthread -o "$bench/$i" "$bench/$i.c" || true; done
	for i in $(seq 12); do
		printf '#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint f%d(int x) { printf("%%d", x); return x + %d; }\n' "$i" "$i" >"$bench/src/f$i.c"
	done
	echo 'int main(void) { return 0; }' >"$bench/src/main.c"
	printf 'O=%s\nall: $(O)\n\tgcc -o prog $(O)\n%%.o: %%.c\n\tgcc -O1 -c -o $@ $<\n' "main.o $(seq -s ' ' -f 'f%.0f.o' 12)" >"$bench/src/Makefile"
	cat >"$bench/src/configure" <<-'SH'
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
}

# shellcheck disable=SC2034 # for those who source this
declare -A work=(
	[find]='for i in 1 2 3 4; do find /usr -size +100000k; done'
	[du]='for i in 1 2 3 4; do du -s /usr; done'
	[ls]='for i in 1 2 3; do ls -lR /usr/share /usr/lib >/dev/null; done'
	[tar]='for i in 1 2 3; do tar -cf - /usr/share/perl* /usr/include /usr/lib/python3* 2>/dev/null | cat >/dev/null; done'
	[files]='i=0; while [ $i -lt 1200 ]; do i=$((i + 1)); echo $i >/bench/f$i; done; rm -r /bench/f*'
	[stat]='for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do stat /usr/bin/* >/dev/null; done'
	[exec]='i=0; while [ $i -lt 450 ]; do i=$((i + 1)); /bin/true; done'
	[fork]='i=0; while [ $i -lt 1200 ]; do i=$((i + 1)); (:); done'
	[configure]='cp /bench/src/configure /bench && cd /bench && sh ./configure'
	[make]='rm -rf /bench/m; cp -r /bench/src /bench/m && make -s -C /bench/m -j2'
	[numpy]='for i in 1 2 3; do python3 -c "import numpy"; done'
	[cpu]='/bench/cpu'
	[threads]='/bench/io'
)
# shellcheck disable=SC2034
lines='find du ls tar files stat exec fork configure make numpy cpu threads'
