/* What does it cost when a guest's system call is answered by a supervisor?
 *
 *     gcc -O2 -o stops vendor-proot/stops.c && ./stops [CALLS] [FILE]
 *
 * prints, for a guest that calls newfstatat(FILE), microseconds of processor time per call, of both
 * processes, and the multiple of native: with the supervisor on the guest's core, and free to move. "let through" is the least that each
 * kind of supervisor can do; "answered" is all that PRoot's fast path does: it reads the path, asks
 * the kernel, writes the result. Kinds: ptrace with a seccomp filter, as PRoot; seccomp's user
 * notification, also with the wake-up that stays on the core (Linux 6.6). Each line is the median of
 * five runs, which are interleaved. See docs/decisions/0017.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#endif

enum kind { NATIVE, PTRACE, PTRACE_ANSWER, NOTIFY, NOTIFY_ANSWER, NOTIFY_SYNC, NOTIFY_SYNC_ANSWER, KINDS };
static const char *const names[KINDS] = {
	"native", "ptrace, let through", "ptrace, answered", "notification, let through",
	"notification, answered", "notification (sync), let through", "notification (sync), answered",
};
static long calls = 20000;
static const char *file = "/usr/bin/env";

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int install_filter(unsigned action, unsigned flags)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	int result;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
	if (result < 0)
		die("seccomp");
	return result;
}

static void stay_on(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Processor time of this process and those it has waited for, in seconds.  */
static double used(void)
{
	struct rusage self, children;

	getrusage(RUSAGE_SELF, &self);
	getrusage(RUSAGE_CHILDREN, &children);
	return self.ru_utime.tv_sec + self.ru_stime.tv_sec + children.ru_utime.tv_sec + children.ru_stime.tv_sec
		+ (self.ru_utime.tv_usec + self.ru_stime.tv_usec
			+ children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1e-6;
}

static void work(void)
{
	struct stat result;
	long i;

	for (i = 0; i < calls; i++) {
		if (syscall(SYS_newfstatat, AT_FDCWD, file, &result, 0) != 0)
			die("newfstatat");
	}
	_exit(0);
}

/* What PRoot does between both stops, but for the translation.  */
static long answer(pid_t pid, unsigned long path_address, unsigned long result_address)
{
	char path[256];
	struct stat result;
	struct iovec local = { path, sizeof(path) }, remote = { (void *) path_address, 64 };

	if (process_vm_readv(pid, &local, 1, &remote, 1, 0) <= 0)
		return -EFAULT;
	path[63] = '\0';
	if (syscall(SYS_newfstatat, AT_FDCWD, path, &result, 0) != 0)
		return -errno;
	result.st_uid = result.st_gid = 0;
	local = (struct iovec) { &result, sizeof(result) };
	remote = (struct iovec) { (void *) result_address, sizeof(result) };
	return process_vm_writev(pid, &local, 1, &remote, 1, 0) == sizeof(result) ? 0 : -EFAULT;
}

static void trace(pid_t pid, int answers)
{
	struct user_regs_struct regs;
	int status;

	if (waitpid(pid, &status, 0) != pid || ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP) < 0)
		die("ptrace");
	ptrace(PTRACE_CONT, pid, 0, 0);
	while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		if (answers && status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
			ptrace(PTRACE_GETREGS, pid, 0, &regs);
			regs.rax = answer(pid, regs.rsi, regs.rdx);
			regs.orig_rax = -1;
			ptrace(PTRACE_SETREGS, pid, 0, &regs);
		}
		ptrace(PTRACE_CONT, pid, 0, 0);
	}
}

static void supervise(int listener, int answers)
{
	struct seccomp_notif call;
	struct seccomp_notif_resp response;

	while (1) {
		memset(&call, 0, sizeof(call));
		memset(&response, 0, sizeof(response));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
			return;
		response.id = call.id;
		if (answers)
			response.error = answer(call.pid, call.data.args[1], call.data.args[2]);
		else
			response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
	}
}

/* The listener's number is the same in the guest: it's duplicated from there.  */
static int take_listener(pid_t pid, int from)
{
	int fd, pidfd = syscall(SYS_pidfd_open, pid, 0);

	if (read(from, &fd, sizeof(fd)) != sizeof(fd))
		die("read");
	fd = syscall(SYS_pidfd_getfd, pidfd, fd, 0);
	if (fd < 0)
		die("pidfd_getfd");
	close(pidfd);
	return fd;
}

static double run(enum kind kind, int one_core)
{
	int channel[2], go[2], listener;
	const double start = used();
	pid_t pid, supervisor = 0;

	if (pipe(channel) < 0 || pipe(go) < 0)
		die("pipe");
	pid = fork();
	if (pid == 0) {
		if (one_core)
			stay_on(0);
		if (kind == PTRACE || kind == PTRACE_ANSWER) {
			ptrace(PTRACE_TRACEME, 0, 0, 0);
			raise(SIGSTOP);
			install_filter(SECCOMP_RET_TRACE, 0);
		} else if (kind != NATIVE) {
			char byte;
			listener = install_filter(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
			if (write(channel[1], &listener, sizeof(listener)) < 0 || read(go[0], &byte, 1) < 0)
				die("pipe");
			close(listener);
		}
		work();
	}
	if (kind != NATIVE) {
		/* Its own process, so that affinity is its own too.  */
		if (kind == PTRACE || kind == PTRACE_ANSWER) {
			cpu_set_t all;
			sched_getaffinity(0, sizeof(all), &all);
			if (one_core)
				stay_on(0);
			trace(pid, kind == PTRACE_ANSWER);
			sched_setaffinity(0, sizeof(all), &all);
		} else {
			listener = take_listener(pid, channel[0]);
			if (kind >= NOTIFY_SYNC
			    && ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) < 0)
				die("SECCOMP_IOCTL_NOTIF_SET_FLAGS");
			supervisor = fork();
			if (supervisor == 0) {
				if (one_core)
					stay_on(0);
				if (write(go[1], "x", 1) < 0)
					die("write");
				supervise(listener, kind == NOTIFY_ANSWER || kind == NOTIFY_SYNC_ANSWER);
				_exit(0);
			}
			close(listener);
		}
	}
	if (kind == NATIVE || supervisor != 0)
		waitpid(pid, NULL, 0);
	if (supervisor != 0) {
		kill(supervisor, SIGKILL);
		waitpid(supervisor, NULL, 0);
	}
	close(channel[0]);
	close(channel[1]);
	close(go[0]);
	close(go[1]);
	return (used() - start) / calls * 1e6;
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

int main(int argc, char *argv[])
{
	static double results[2][KINDS][5];
	int one_core, round, kind;

	if (argc > 1)
		calls = atol(argv[1]);
	if (argc > 2)
		file = argv[2];
	for (round = 0; round < 5; round++)
		for (one_core = 0; one_core < 2; one_core++)
			for (kind = 0; kind < KINDS; kind++)
				results[one_core][kind][round] = run(kind, one_core);
	printf("%-34s %16s %16s\n", "microseconds (times native)", "one core", "free to move");
	for (kind = 0; kind < KINDS; kind++) {
		printf("%-34s", names[kind]);
		for (one_core = 1; one_core >= 0; one_core--) {
			qsort(results[one_core][kind], 5, sizeof(double), compare);
			printf(" %7.2f (%5.1f)", results[one_core][kind][2],
				results[one_core][kind][2] / results[one_core][NATIVE][2]);
		}
		printf("\n");
	}
	return 0;
}
