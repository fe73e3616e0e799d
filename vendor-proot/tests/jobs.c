/* Stops processes and lets them continue, as shells and tracers do; see jobs.sh. Fails, and says where,
 * if something is not as without PRoot.
 *
 * jobs stops: stopped children stay so until SIGCONT, whatever has stopped them.
 * jobs terminal: so does one that reads the terminal in the background.
 * jobs tracer: what a tracer is told of stops. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("line %d, signal %d: %s\n", __LINE__, current, #condition); \
			exit(1); \
		} \
	} while (0)

enum { THREADS = 4 };

static int current;
static volatile unsigned *counters;

static void pause_ms(int ms)
{
	usleep(ms * 1000);
}

static void *nothing(void *unused)
{
	return unused;
}

/* Counts, makes system calls, or threads.  */
static void *work(void *which)
{
	const long number = (long) which;

	for (;;) {
		pthread_t thread;

		counters[number]++;
		if (number == 1)
			getppid();
		if (number == 2)
			close(open("/bin", O_RDONLY));
		if (number == 3 && pthread_create(&thread, NULL, nothing, NULL) == 0)
			pthread_join(thread, NULL);
	}
	return NULL;
}

static int wait_for(pid_t pid, int options)
{
	int status = -1;

	CHECK(waitpid(pid, &status, options) == pid);
	return status;
}

static int is_stopped(void)
{
	unsigned before[THREADS];

	memcpy(before, (void *) counters, sizeof(before));
	pause_ms(100);
	return memcmp(before, (void *) counters, sizeof(before)) == 0;
}

static void wait_until_running(void)
{
	unsigned before[THREADS];
	int i;

	memcpy(before, (void *) counters, sizeof(before));
	for (i = 0; i < THREADS; i++)
		while (counters[i] == before[i])
			pause_ms(1);
}

static void stops(void)
{
	static const int signals[] = { SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, 0 };
	int status, i;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		pthread_t thread;
		long number;

		setpgid(0, 0);
		for (number = 1; number < THREADS; number++)
			pthread_create(&thread, NULL, work, (void *) number);
		work((void *) 0);
	}
	setpgid(pid, pid);
	for (i = 0; signals[i] != 0; i++) {
		current = signals[i];
		wait_until_running();
		CHECK(kill(pid, current) == 0);
		status = wait_for(pid, WUNTRACED);
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == current);
		CHECK(is_stopped());
		CHECK(kill(pid, SIGCONT) == 0);
		status = wait_for(pid, WCONTINUED);
		CHECK(WIFCONTINUED(status));
		wait_until_running();
		/* Nobody is told twice.  */
		CHECK(waitpid(pid, &status, WUNTRACED | WCONTINUED | WNOHANG) == 0);
	}
	/* One that is stopped can be killed.  */
	kill(pid, SIGSTOP);
	status = wait_for(pid, WUNTRACED);
	CHECK(WIFSTOPPED(status));
	kill(pid, SIGKILL);
	status = wait_for(pid, 0);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void terminal(void)
{
	int status, master, slave;
	struct rusage usage;
	char byte;
	pid_t pid;

	master = posix_openpt(O_RDWR | O_NOCTTY);
	CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
	pid = fork();
	if (pid == 0) {
		CHECK(setsid() > 0);
		slave = open(ptsname(master), O_RDWR);
		CHECK(slave >= 0);
		ioctl(slave, TIOCSCTTY, 0);
		current = SIGTTIN;
		pid = fork();
		if (pid == 0) {
			setpgid(0, 0);
			_exit(read(slave, &byte, 1) == 1 && byte == 'x' ? 0 : 1);
		}
		setpgid(pid, pid);
		status = wait_for(pid, WUNTRACED);
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTTIN);
		pause_ms(200);
		CHECK(tcsetpgrp(slave, pid) == 0 && kill(pid, SIGCONT) == 0);
		CHECK(wait_for(pid, 0) == 0);
		/* It has not tried again and again.  */
		CHECK(getrusage(RUSAGE_CHILDREN, &usage) == 0 && usage.ru_nvcsw < 200);
		exit(0);
	}
	CHECK(write(master, "x\n", 2) == 2);
	CHECK(wait_for(pid, 0) == 0);
}

static void tracer(void)
{
	siginfo_t siginfo;
	unsigned long child;
	int status;
	pid_t pid;

	/* A signal that stops, and the stop itself.  */
	current = SIGSTOP;
	pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		raise(SIGCONT);
		_exit(fork() == 0 ? 0 : 7);
	}
	status = wait_for(pid, 0);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	CHECK(ptrace(PTRACE_GETSIGINFO, pid, NULL, &siginfo) == 0 && siginfo.si_signo == SIGSTOP);
	CHECK(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACEFORK) == 0);
	CHECK(ptrace(PTRACE_CONT, pid, NULL, SIGSTOP) == 0);
	status = wait_for(pid, 0);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP && status >> 16 == 0);
	CHECK(ptrace(PTRACE_GETSIGINFO, pid, NULL, &siginfo) < 0 && errno == EINVAL);
	CHECK(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	status = wait_for(pid, 0);
	CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGCONT);
	CHECK(ptrace(PTRACE_CONT, pid, NULL, SIGCONT) == 0);

	/* A child that is traced from its beginning.  */
	current = SIGTRAP;
	status = wait_for(pid, 0);
	CHECK(WIFSTOPPED(status) && status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8));
	CHECK(ptrace(PTRACE_GETEVENTMSG, pid, NULL, &child) == 0);
	status = wait_for(child, __WALL);
	CHECK(WIFSTOPPED(status) && status >> 8 == SIGSTOP);
	CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
	status = wait_for(child, __WALL);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	CHECK(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	status = wait_for(pid, 0);
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGCHLD) {
		CHECK(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
		status = wait_for(pid, 0);
	}
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);

	/* One that is stopped already is attached, and remains stopped when it is detached.  */
	for (current = 0; current < 2; current++) {
		counters[0] = 0;
		pid = fork();
		if (pid == 0) {
			if (current == 1)
				raise(SIGSTOP);
			for (;;)
				counters[0]++;
		}
		if (current == 1)
			CHECK(WIFSTOPPED(wait_for(pid, WUNTRACED)));
		else
			while (counters[0] == 0)
				;
		CHECK(ptrace(PTRACE_ATTACH, pid, NULL, NULL) == 0);
		status = wait_for(pid, 0);
		CHECK(WIFSTOPPED(status) && status >> 8 == SIGSTOP);
		CHECK(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
		pause_ms(50);
		CHECK((counters[0] == 0) == (current == 1));
		kill(pid, SIGKILL);
		CHECK(WIFSIGNALED(wait_for(pid, 0)));
	}

	/* Whether a tracer detaches or ends, the signal it was told of is lost.  */
	for (current = 0; current < 2; current++) {
		counters[0] = 0;
		pid = fork();
		if (pid == 0) {
			pid = fork();
			if (pid == 0) {
				ptrace(PTRACE_TRACEME, 0, NULL, NULL);
				raise(SIGSTOP);
				counters[0] = 1;
				_exit(0);
			}
			status = wait_for(pid, 0);
			CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
			if (current == 1)
				_exit(0);
			CHECK(ptrace(PTRACE_DETACH, pid, NULL, NULL) == 0);
			_exit(wait_for(pid, 0));
		}
		CHECK(wait_for(pid, 0) == 0);
		while (counters[0] == 0)
			pause_ms(1);
	}
}

int main(int argc, char *argv[])
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 2)
		return 2;
	counters = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (strcmp(argv[1], "stops") == 0)
		stops();
	if (strcmp(argv[1], "terminal") == 0)
		terminal();
	if (strcmp(argv[1], "tracer") == 0)
		tracer();
	return 0;
}
