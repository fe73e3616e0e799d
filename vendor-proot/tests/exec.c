/* Executes "/bin/echo fine" under conditions that the kernel itself would not mind:
 * exec descriptors SOFT HARD: with as many files open as SOFT allows
 * exec filter: with a filter of its own that denies open(2), not openat(2) */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static void deny_open(void)
{
#ifdef SYS_open
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ, SYS_open, 0, 1),
		BPF_STMT(BPF_RET, SECCOMP_RET_ERRNO | 1),
		BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		perror("filter");
#endif
}

int main(int argc, char *argv[])
{
	if (argc == 4 && strcmp(argv[1], "descriptors") == 0) {
		const struct rlimit limit = { atoi(argv[2]), atoi(argv[3]) };

		setrlimit(RLIMIT_NOFILE, &limit);
		while (open("/", O_RDONLY) >= 0)
			;
	}
	else
		deny_open();
	execl("/bin/echo", "echo", "fine", NULL);
	perror("exec");
	return 1;
}
