/* The stack belongs to the guest: calls on stacks without any room, while signals arrive, and in more
 * threads than PRoot has memory for. Silent if all is well. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 65536
#define ROOM 64 /* Enough for nothing. */

static unsigned char *memory;
static char directory[64];
static char first[1000], second[1000];
static int failures;

static void fail(const char *name, long result)
{
	printf("%s: %ld %s\n", name, result, strerror(errno));
	if (++failures == 5)
		_exit(1);
}

/* Makes a call with the stack pointer @stack, and checks all registers. */
static long call(void *stack, long number, long arg1, long arg2, long arg3, long arg4, long arg5, long arg6)
{
	static const char message[] = "a register has changed";
	long result;
#ifdef __x86_64__
	register long rdi asm("rdi") = arg1;
	register long rsi asm("rsi") = arg2;
	register long rdx asm("rdx") = arg3;
	register long r10 asm("r10") = arg4;
	register long r8 asm("r8") = arg5;
	register long r9 asm("r9") = arg6;
	register void *r12 asm("r12") = stack;

	asm volatile ("xchg %%rsp, %%r12; syscall; xchg %%rsp, %%r12"
		: "=a" (result), "+r" (rdi), "+r" (rsi), "+r" (rdx), "+r" (r10), "+r" (r8), "+r" (r9), "+r" (r12)
		: "0" (number) : "rcx", "r11", "memory", "cc");
	if (rdi != arg1 || rsi != arg2 || rdx != arg3 || r10 != arg4 || r8 != arg5 || r9 != arg6 || r12 != stack)
		fail(message, number);
	if (result < 0) {
		errno = -result;
		result = -1;
	}
#else
	(void) message, (void) stack;
	result = syscall(number, arg1, arg2, arg3, arg4, arg5, arg6);
#endif
	return result;
}

/* Makes a call on a stack that has ROOM bytes left. */
static void check(const char *name, int expected, long number, long arg1, long arg2, long arg3, long arg4, long arg5)
{
	long result;
	int i;

	memset(memory, 0x5a, SIZE);
	result = call(memory + SIZE / 2 + ROOM, number, arg1, arg2, arg3, arg4, arg5, 6);
	if (expected == 0 ? result < 0 : result != -1 || errno != expected)
		fail(name, result);
	for (i = 0; i < SIZE; i++) {
		if (memory[i] != 0x5a) {
			printf("%s: has changed byte %d below the stack pointer\n", name, SIZE / 2 + ROOM - i);
			failures++;
			break;
		}
	}
}

static void check_calls(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct msghdr message = { .msg_name = &address, .msg_namelen = sizeof(address) };
	const char *argv[] = { "script", "a", "b", NULL };
	struct stat status;

	check("mkdir", 0, SYS_mkdirat, AT_FDCWD, (long) first, 0755, 4, 5);
	check("rename", 0, SYS_renameat, AT_FDCWD, (long) first, AT_FDCWD, (long) second, 5);
	check("rmdir", 0, SYS_unlinkat, AT_FDCWD, (long) second, AT_REMOVEDIR, 4, 5);
	check("open", 0, SYS_openat, AT_FDCWD, (long) first, O_CREAT | O_WRONLY, 0755, 5);
	check("link", 0, SYS_linkat, AT_FDCWD, (long) first, AT_FDCWD, (long) second, 0);
	check("chmod", 0, SYS_fchmodat, AT_FDCWD, (long) second, 0755, 4, 5);
	check("stat", 0, SYS_newfstatat, AT_FDCWD, (long) second, (long) &status, 0, 5);
	check("unlink", 0, SYS_unlinkat, AT_FDCWD, (long) second, 0, 4, 5);
	check("unlink again", ENOENT, SYS_unlinkat, AT_FDCWD, (long) second, 0, 4, 5);
	check("execve", ENOENT, SYS_execve, (long) second, (long) argv, (long) environ, 4, 5);
	if (unlink(first) < 0)
		fail("unlink", -1);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
	check("connect", ENOENT, SYS_connect, socket(AF_UNIX, SOCK_STREAM, 0), (long) &address, sizeof(address), 4, 5);
	check("sendmsg", ENOENT, SYS_sendmsg, socket(AF_UNIX, SOCK_DGRAM, 0), (long) &message, 0, 4, 5);
	check("bind", 0, SYS_bind, socket(AF_UNIX, SOCK_STREAM, 0), (long) &address, sizeof(address), 4, 5);
	unlink(address.sun_path);
}

static volatile sig_atomic_t nb_signals;

static void handle(int signum)
{
	int fd, saved_errno = errno;
	char path[100];

	(void) signum;
	snprintf(path, sizeof(path), "%s/handler", directory);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	if (fd < 0 || close(fd) < 0 || unlink(path) < 0)
		fail("in a signal handler", fd);
	nb_signals++;
	errno = saved_errno;
}

/* Signals arrive at any point of a call. */
static void check_signals(int flags)
{
	const struct itimerval often = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	struct sigaction action = { .sa_handler = handle, .sa_flags = flags };
	char *stack = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const int nb_before = nb_signals;
	long fd;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (nb_signals < nb_before + 50) {
		fd = call(stack + SIZE, SYS_openat, AT_FDCWD, (long) first, O_CREAT | O_WRONLY, 0644, 5, 6);
		if (fd < 0 || close(fd) < 0)
			fail("open between signals", fd);
		if (call(stack + SIZE, SYS_renameat, AT_FDCWD, (long) first, AT_FDCWD, (long) second, 5, 6) < 0)
			fail("rename between signals", -1);
		if (call(stack + SIZE, SYS_unlinkat, AT_FDCWD, (long) second, 0, 4, 5, 6) < 0)
			fail("unlink between signals", -1);
	}
	setitimer(ITIMER_REAL, &never, NULL);
}

static void look(int signum)
{
	struct stat status;

	(void) signum;
	if (stat("/bin/busybox", &status) < 0)
		fail("stat on a small stack", -1);
}

/* What the kernel needs for the registers, and a little more. */
static void check_small_stack(void)
{
	const size_t size = getauxval(AT_MINSIGSTKSZ) + 1100;
	char *stack = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const stack_t small = { .ss_sp = stack + SIZE / 2, .ss_size = size };
	const struct sigaction action = { .sa_handler = look, .sa_flags = SA_ONSTACK };
	int i;

	if (   mprotect(small.ss_sp, SIZE / 2, PROT_READ | PROT_WRITE) < 0
	    || sigaltstack(&small, NULL) < 0
	    || sigaction(SIGUSR1, &action, NULL) < 0)
		fail("sigaltstack", -1);
	for (i = 0; i < 20; i++)
		raise(SIGUSR1);
}

static pthread_barrier_t barrier;

static void *work(void *number)
{
	char path[100];
	int i;

	snprintf(path, sizeof(path), "%s/thread-%ld", directory, (long) number);
	pthread_barrier_wait(&barrier);
	for (i = 0; i < 3; i++) {
		if (mkdir(path, 0755) < 0 || rmdir(path) < 0)
			fail(path, i);
	}
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void check_threads(void)
{
	enum { NB_THREADS = 140 };
	pthread_t threads[NB_THREADS];
	long i;

	pthread_barrier_init(&barrier, NULL, NB_THREADS);
	for (i = 0; i < NB_THREADS; i++) {
		if (pthread_create(&threads[i], NULL, work, (void *) i) != 0)
			fail("pthread_create", i);
	}
	for (i = 0; i < NB_THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void check_all(void)
{
	int i;

	strcpy(directory, "/tmp/stack-XXXXXX");
	if (mkdtemp(directory) == NULL)
		fail("mkdtemp", -1);
	snprintf(first, sizeof(first), "%s/", directory);
	for (i = 0; i < 75; i++)
		strcat(first, "././././");
	strcpy(second, first);
	strcat(first, "first");
	strcat(second, "second");

	check_calls();
	check_small_stack();
	check_signals(0);
	check_signals(SA_RESTART);
	check_threads();
	if (rmdir(directory) < 0)
		fail("rmdir", -1);
}

int main(void)
{
	int status;

	setvbuf(stdout, NULL, _IONBF, 0);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check_all();

	/* A new process has memory of its own. */
	if (fork() == 0)
		check_all();
	else if (wait(&status) < 0 || status != 0)
		return 1;
	return failures != 0;
}
