/* Creates processes that ask not to be traced: clone FILE, which must not exist for them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *file;

static int child(void *unused)
{
	(void) unused;
	return !(access("/bin/probe", F_OK) == 0 && access(file, F_OK) < 0 && errno == ENOENT);
}

static int report(const char *name, pid_t pid)
{
	int status = -1;

	if (pid < 0)
		perror(name);
	else if (waitpid(pid, &status, __WALL) == pid && status == 0)
		return 0;
	printf("%s: %x\n", name, status);
	return 1;
}

/* A raw call, which has to leave its argument alone in both processes. */
static pid_t call(long number, uint64_t argument, uint64_t size)
{
	uint64_t before = argument;
	long result;

#ifdef __x86_64__
	register uint64_t r10 asm("r10") = 0;
	register uint64_t r8 asm("r8") = 0;

	asm volatile ("syscall" : "=a" (result), "+D" (argument) : "0" (number), "S" (size), "d" (0), "r" (r10), "r" (r8)
		: "rcx", "r11", "memory");
#else
	result = syscall(number, argument, size, 0, 0, 0);
#endif
	if (argument != before)
		_exit(3);
	if (result == 0)
		_exit(child(NULL));
	return result;
}

int main(int argc, char *argv[])
{
	struct clone_args args = { .flags = CLONE_UNTRACED, .exit_signal = SIGCHLD };
	const struct clone_args before = args;
	char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status, i;

	file = argv[argc - 1];
	status = report("clone", call(SYS_clone, SIGCHLD | CLONE_UNTRACED, 0));
	status |= report("clone with another signal", call(SYS_clone, SIGURG | CLONE_UNTRACED, 0));
	status |= report("clone in the same memory", clone(child, stack + 65536,
			SIGCHLD | CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_UNTRACED, NULL));
	status |= report("vfork", clone(child, stack + 65536, SIGCHLD | CLONE_VM | CLONE_VFORK | CLONE_UNTRACED, NULL));
	status |= report("clone3", call(SYS_clone3, (uint64_t) &args, sizeof(args)));
	for (i = 0; i < (int) sizeof(args); i++)
		status |= ((char *) &args)[i] != ((char *) &before)[i];
	if (syscall(SYS_clone3, NULL, sizeof(args)) != -1 || errno != EFAULT)
		status = 1;
	if (syscall(SYS_clone3, &args, 8) != -1 || errno != EINVAL)
		status = 1;
	return status;
}
