/* What answers given in the guest itself must not change; see inside.sh. Each call is made often
 * enough from one place to be answered there.
 *
 * inside CASE: prints what the calls say.
 * inside stat FILE COUNT: says when the owner of FILE becomes 61, after at most COUNT milliseconds. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { OFTEN = 12 };

/* As the C libraries do it: one place for each kind of call. */
#define PLACE(name, number) \
	static __attribute__((noinline)) long name(long a, long b, long c, long d, long e) \
	{ \
		register long r10 asm("r10") = d, r8 asm("r8") = e; \
		long result; \
		asm volatile("movl %1, %%eax\n\tsyscall" : "=&a"(result) \
			: "i"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory", "cc"); \
		return result; \
	}
PLACE(do_stat, SYS_newfstatat)
PLACE(do_fstat, SYS_fstat)
PLACE(do_statx, SYS_statx)
PLACE(do_open, SYS_openat)
PLACE(do_access, SYS_faccessat)
PLACE(do_readlink, SYS_readlinkat)
PLACE(do_listxattr, SYS_llistxattr)
PLACE(do_getuid, SYS_getuid)
PLACE(do_geteuid, SYS_geteuid)
PLACE(do_getgid, SYS_getgid)
PLACE(do_getegid, SYS_getegid)

static struct stat st;

static void show(const char *what, long result)
{
	printf("%s=%ld ", what, result);
}

static void show_stat(int fd, const char *path, int flags)
{
	memset(&st, 0, sizeof(st));
	long result = do_stat(fd, (long) path, (long) &st, flags, 0);
	printf("%.40s=%ld", (unsigned long) path < 4096 ? "?" : path, result);
	if (result == 0)
		printf("[%o %d:%d %ld]", st.st_mode, st.st_uid, st.st_gid, S_ISREG(st.st_mode) ? (long) st.st_size : 0);
	putchar(' ');
}

static void show_all(int fd, const char *path)
{
	struct statx sx;
	char link[100] = "";
	long result;

	for (int i = 0; i < 2; i++) {
		show_stat(fd, path, AT_SYMLINK_NOFOLLOW);
		show_stat(fd, path, 0);
		memset(&sx, 0, sizeof(sx));
		result = do_statx(fd, (long) path, 0, STATX_BASIC_STATS, (long) &sx);
		show("statx", result);
		printf("%o %d:%d ", sx.stx_mode, sx.stx_uid, sx.stx_gid);
		show("access", do_access(fd, (long) path, R_OK, 0, 0));
		result = do_readlink(fd, (long) path, (long) link, sizeof(link) - 1, 0);
		link[result > 0 ? result : 0] = '\0';
		if (link[0] != '\0' && link[strspn(link, "0123456789")] == '\0')
			printf("link=PID ");
		else
			printf("link=%ld %s ", result, link);
		printf("ids=%ld %ld %ld %ld ", do_getuid(0, 0, 0, 0, 0), do_geteuid(0, 0, 0, 0, 0), do_getgid(0, 0, 0, 0, 0), do_getegid(0, 0, 0, 0, 0));
		show("xattr", do_listxattr((long) path, (long) link, sizeof(link), 0, 0));
		result = do_open(fd, (long) path, O_RDONLY | O_NONBLOCK, 0, 0);
		show("open", result);
		if (result >= 0) {
			show("fstat", do_fstat(result, (long) &st, 0, 0, 0));
			printf("%d flags=%o ", st.st_uid, fcntl(result, F_GETFL));
			close(result);
		}
		putchar('\n');
	}
}

static void warm_up(void)
{
	for (int i = 0; i < OFTEN; i++)
		show_all(AT_FDCWD, "file");
}

static void plain(void)
{
	static const char *const paths[] = {
		"file", "/w/file", "none", "/w/none", "d", "d/file", "d/", "/w//file", "/w/./file", "/w/../w/file",
		"rel", "abs", "dangling", "loop", "/b", "/b/in", "/w/b", "/w/b/in", "/w/b/none", "/n", "/n/deep",
		"/n/deep/in", "/n/none", "/n/missing", "/n/missing/deep", "/n/missing/deep/in", "/n/missing/none", "/x/y/file", "/proc",
		"/proc/self/exe", "/proc/self", "/dev/null", "/dev/fd/0", "/", "/..", "/link/file", "/link/none", "/link/b/in", "/link", "/link/", "/bound/in", "/bound/file", "/chain/file", "/up/w/file", "", ".", "..", "pipe", "closed/x",
	};
	int dirs[] = { AT_FDCWD, open("/w", O_RDONLY), open("/x/y", O_RDONLY), open("/proc/self", O_RDONLY), -1, 77 };

	warm_up();
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		for (size_t j = 0; j < sizeof(paths) / sizeof(paths[0]); j++)
			show_all(dirs[i], paths[j]);

	/* A link that becomes another one. */
	symlink("x/y", "/new");
	rename("/new", "/link");
	show_all(AT_FDCWD, "/link/file");
	show_all(AT_FDCWD, "/link/d");
	unlink("/link");
	mkdir("/link", 0755);
	show_all(AT_FDCWD, "/link/file");
	rmdir("/link");
	show_all(AT_FDCWD, "/link/file");
}

static volatile int nb_faults;
static sigjmp_buf out;

static void count_fault(int signal)
{
	(void) signal;
	nb_faults++;
	siglongjmp(out, 1);
}

/* Bad addresses make the call fail, and nothing else. */
static void addresses(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(page + 4096, 4096);
	memset(page, 'x', 4096);
	warm_up();
	signal(SIGSEGV, count_fault);
	for (int i = 0; i < OFTEN; i++) {
		show_stat(AT_FDCWD, NULL, 0);
		show_stat(AT_FDCWD, (char *) 8, 0);
		show("unterminated", do_stat(AT_FDCWD, (long) page + 4000, (long) &st, 0, 0));
		strcpy(page + 4096 - sizeof("file"), "file");
		show("at the end", do_stat(AT_FDCWD, (long) page + 4096 - sizeof("file"), (long) &st, 0, 0));
		memset(page, 'x', 4096);
		show("buffer", do_stat(AT_FDCWD, (long) "file", 8, 0, 0));
		show("buffer", do_fstat(0, 8, 0, 0, 0));
		show("link", do_readlink(AT_FDCWD, (long) "rel", 8, 10, 0));
	}
	if (sigsetjmp(out, 1) == 0)
		*(volatile int *) 16 = 0;
	printf("faults=%d\n", nb_faults);
}

static void *use_files(void *data)
{
	for (int i = 0; i < 200; i++) {
		int fd = do_open(AT_FDCWD, (long) "/w/file", O_RDONLY, 0, 0);
		if (fd < 0 || do_fstat(fd, (long) data, 0, 0, 0) != 0 || do_stat(AT_FDCWD, (long) "file", (long) data, 0, 0) != 0)
			return "failed";
		close(fd);
	}
	return "done";
}

static void *change_directory(void *path)
{
	return (void *) (long) chdir(path);
}

/* New processes and threads, and where they are. */
static void processes(void)
{
	static char stack[1 << 16];
	struct stat other;
	pthread_t thread;
	void *result;

	warm_up();
	if (fork() == 0) {
		chdir("d");
		show_all(AT_FDCWD, "file");
		chdir("/");
		show_all(AT_FDCWD, "w/file");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	show_all(AT_FDCWD, "file");
	if (vfork() == 0) {
		chdir("/w/d");
		_exit(0);
	}
	wait(NULL);
	show_all(AT_FDCWD, "file");
	for (int i = 0; i < 3; i++) {
		pthread_create(&thread, NULL, use_files, &other);
		printf("%s ", (char *) use_files(&st));
		pthread_join(thread, &result);
		printf("%s\n", (char *) result);
		show_all(AT_FDCWD, "/w/d/file");
	}
	pthread_create(&thread, NULL, change_directory, "/w/d");
	pthread_join(thread, NULL);
	show_all(AT_FDCWD, "file");
	show_all(AT_FDCWD, "e");
	chdir("/w");
	show_all(AT_FDCWD, "d/file");
	/* The directory is shared, the memory isn't. */
	if (syscall(SYS_clone, CLONE_FS | SIGCHLD, 0, 0, 0, 0) == 0) {
		show_all(AT_FDCWD, "file");
		chdir("/w/d");
		show_all(AT_FDCWD, "e");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	show_all(AT_FDCWD, "e");
	chdir("/w");
	show_all(AT_FDCWD, "d/e");
	/* The memory is shared, the directory isn't. */
	clone((int (*)(void *)) change_directory, stack + sizeof(stack), CLONE_VM | SIGCHLD, "/w/d/e");
	wait(NULL);
	show_all(AT_FDCWD, "d/e");
	mkdir("/w/gone", 0755);
	chdir("/w/gone");
	show_all(AT_FDCWD, ".");
	rmdir("/w/gone");
	show_all(AT_FDCWD, "x");
	chdir("/w");
}

/* Other ids, roots, limits, and filters. */
static void changes(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, filter };
	struct rlimit limit;

	warm_up();
	show_all(AT_FDCWD, "file");
	if (fork() == 0) {
		show("setuid", setresuid(12, 12, 12));
		show_all(AT_FDCWD, "file");
		show_all(AT_FDCWD, "/w/d");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	show_all(AT_FDCWD, "file");
	if (fork() == 0) {
		show("chroot", chroot("/w/d"));
		show_all(AT_FDCWD, "/file");
		show_all(AT_FDCWD, "/w/file");
		show_all(AT_FDCWD, "file");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	if (fork() == 0) {
		show_all(AT_FDCWD, "file");
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		show("filter", syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
		show_all(AT_FDCWD, "/w/file");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	if (fork() == 0) {
		prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
		show_all(AT_FDCWD, "/w/file");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	limit.rlim_cur = limit.rlim_max = 3;
	setrlimit(RLIMIT_NOFILE, &limit);
	show_all(AT_FDCWD, "/w/file");
}

static volatile long nb_signals, nb_wrong;

static void on_signal(int signal)
{
	struct stat other;

	(void) signal;
	nb_signals++;
	if (do_stat(AT_FDCWD, (long) "/w/d/file", (long) &other, 0, 0) != 0 || other.st_size != 5)
		nb_wrong++;
}

/* Signals in between. */
static void signals(void)
{
	struct itimerval timer = { { 0, 300 }, { 0, 300 } };
	int first = open("/dev/null", O_RDONLY);

	close(first);
	warm_up();
	signal(SIGALRM, on_signal);
	setitimer(ITIMER_REAL, &timer, NULL);
	while (nb_signals < 300) {
		if (do_stat(AT_FDCWD, (long) "/w/file", (long) &st, 0, 0) != 0 || st.st_size != 5)
			nb_wrong++;
		if (do_readlink(AT_FDCWD, (long) "/w/d", (long) &st, 10, 0) != -EINVAL)
			nb_wrong++;
	}
	timer = (struct itimerval) { 0 };
	setitimer(ITIMER_REAL, &timer, NULL);
	show("wrong", nb_wrong);
	show("descriptor", open("/dev/null", O_RDONLY) - first);
	printf("\n");
}

/* The registers, flags aside, and the stack below the pointer, are the guest's. */
static void registers(void)
{
	static const char name[] = "/w/file";
	long kept = 0;

	for (int i = 0; i < OFTEN; i++) {
		long result, a, b, c, d, e, f, g, red;

		asm volatile(
			"movq $0x1234567, -64(%%rsp)\n\t"
			"movq $-100, %%rdi\n\tmovq %[name], %%rsi\n\tmovq %[buffer], %%rdx\n\txorl %%r10d, %%r10d\n\t"
			"movq $8, %%r8\n\tmovq $9, %%r9\n\tmovq $12, %%r12\n\tmovq $13, %%r13\n\tpxor %%xmm0, %%xmm0\n\tmovq %%r13, %%xmm0\n\t"
			"movl $262, %%eax\n\tsyscall\n\t"
			"movq %%rax, %[result]\n\tmovq %%rdi, %[a]\n\tmovq %%r8, %[b]\n\tmovq %%r9, %[c]\n\tmovq %%r10, %[d]\n\t"
			"movq %%r12, %[e]\n\tmovq %%xmm0, %%r13\n\tmovq %%r13, %[f]\n\tmovq %%rdx, %[g]\n\tmovq -64(%%rsp), %%r13\n\tmovq %%r13, %[red]\n\t"
			: [result] "=m"(result), [a] "=m"(a), [b] "=m"(b), [c] "=m"(c), [d] "=m"(d), [e] "=m"(e), [f] "=m"(f), [g] "=m"(g), [red] "=m"(red)
			: [name] "r"(name), [buffer] "r"(&st)
			: "rax", "rcx", "r11", "rdi", "rsi", "rdx", "r8", "r9", "r10", "r12", "r13", "xmm0", "memory", "cc");
		kept += result == 0 && a == -100 && b == 8 && c == 9 && d == 0 && e == 12 && f == 13 && g == (long) &st && red == 0x1234567;
	}
	show("kept", kept);
	printf("\n");
}

/* A tracer sees all calls. */
static void traced(void)
{
	int status, calls = 0;
	pid_t pid;

	warm_up();
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		for (int i = 0; i < 50; i++)
			do_stat(AT_FDCWD, (long) "/w/file", (long) &st, 0, 0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	while (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid && WIFSTOPPED(status))
		calls++;
	show("calls", calls >= 100);
	printf("\n");
}

/* Owners given by another process. */
static void owners(void)
{
	int turn[2], done[2];
	char byte;

	pipe(turn);
	pipe(done);
	warm_up();
	if (fork() == 0) {
		for (int i = 0; i < 20 && read(turn[0], &byte, 1) == 1; i++) {
			chown("/w/file", 100 + i, 200 + i);
			chmod("/w/d/file", i % 2 ? 0 : 0640);
			write(done[1], "", 1);
		}
		_exit(0);
	}
	for (int i = 0; i < 20; i++) {
		write(turn[1], "", 1);
		read(done[0], &byte, 1);
		show_stat(AT_FDCWD, "/w/file", 0);
		show_stat(AT_FDCWD, "d/file", 0);
	}
	wait(NULL);
	printf("\n");
}

enum { MANY = 1500 };

/* Says who owns the files of many(). */
static void show_many(void)
{
	char name[32];

	warm_up();
	for (int i = 0; i < MANY; i++) {
		sprintf(name, "/w/d/many%d", i);
		do_stat(AT_FDCWD, (long) name, (long) &st, 0, 0);
		printf("%d:%o ", st.st_uid, st.st_mode);
		unlink(name);
	}
	printf("\n");
}

/* Files that are made as package managers do, a few of them somebody else's. */
static void many(void)
{
	char name[32];

	for (int i = 0; i < MANY; i++) {
		sprintf(name, "/w/d/many%d", i);
		close(open(name, O_CREAT | O_WRONLY, 0));
		if (i % 100 == 7)
			chown(name, 61, 61);
		chmod(name, i % 100 == 8 ? 0 : 0644);
	}
	fflush(stdout);
	execl("/proc/self/exe", "inside", "show_many", NULL);
}

static void await_owner(const char *file, int limit)
{
	for (int i = 0; i < limit; i++) {
		for (int j = 0; j < OFTEN; j++)
			do_stat(AT_FDCWD, (long) file, (long) &st, 0, 0);
		if (st.st_uid == 61) {
			printf("seen\n");
			return;
		}
		usleep(1000);
	}
	printf("never seen\n");
}

int main(int argc, char *argv[])
{
	static const struct { const char *name; void (*run)(void); } cases[] = {
		{ "plain", plain }, { "addresses", addresses }, { "processes", processes }, { "changes", changes },
		{ "signals", signals }, { "registers", registers }, { "traced", traced }, { "owners", owners }, { "many", many },
		{ "show_many", show_many },
	};

	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (argc == 4 && strcmp(argv[1], "stat") == 0) {
		await_owner(argv[2], atoi(argv[3]));
		return 0;
	}
	for (size_t i = 0; argc == 2 && i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	return 2;
}
