/* Does what programs do with processes and paths; see kernel.sh. Fails, and says where, if something
 * is not as without PRoot. The working directory has to be empty.
 *
 * kernel forks: the links of processes that are being made are read.
 * kernel attach: they are attached to. Only for guests, as it tries other processes too.
 * kernel traced: processes ask to be traced, whether or not their parent cares.
 * kernel links: links in /proc that only the kernel can follow.
 * kernel renames: working directories and programs that somebody else renames.
 * kernel waits: a tracer that uses waitid().
 * kernel names: empty ones, first lines of scripts, files without a program.
 * kernel chroot: links that were opened before chroot(), needs root. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("line %d: %s (%s)\n", __LINE__, #condition, strerror(errno)); \
			exit(1); \
		} \
	} while (0)

#define FAILS(call, error) (errno = 0, (call) < 0 && errno == (error))

static char *self;

/* The exit status of @pid.  */
static int end_of(pid_t pid)
{
	int status;

	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void forks(bool attach)
{
	enum { FORKS = 1000 };
	volatile pid_t *last = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char path[64], target[PATH_MAX];
	pid_t forker;

	CHECK(last != MAP_FAILED);
	*last = getpid();
	forker = fork();
	if (forker == 0) {
		for (int i = 0; i < FORKS; i++) {
			pid_t child = fork();

			if (child == 0)
				_exit(0);
			*last = child;
			waitpid(child, NULL, 0);
		}
		*last = 0;
		_exit(0);
	}

	/* Guess which process comes next.  */
	for (pid_t pid; (pid = *last) != 0;) {
		for (int i = 1; i <= 4; i++) {
			if (attach) {
				if (ptrace(PTRACE_ATTACH, pid + i, NULL, NULL) == 0) {
					waitpid(pid + i, NULL, __WALL);
					ptrace(PTRACE_DETACH, pid + i, NULL, NULL);
				}
				continue;
			}
			sprintf(path, "/proc/%d/exe", pid + i);
			(void) !readlink(path, target, sizeof(target));
			sprintf(path, "/proc/%d/cwd/x", pid + i);
			(void) !access(path, F_OK);
		}
	}
	CHECK(end_of(forker) == 0);
}

static void look_at_forks(void)
{
	forks(false);
}

static void attach_to_forks(void)
{
	forks(true);
}

static void traced(void)
{
	int end[2];
	char byte;
	pid_t parent;

	CHECK(pipe(end) == 0);
	parent = fork();
	if (parent == 0) {
		parent = getpid();
		if (fork() == 0) {
			while (getppid() == parent)
				;
			_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 && write(end[1], "", 1) == 1 ? 0 : 1);
		}
		_exit(0);
	}
	CHECK(end_of(parent) == 0);
	close(end[1]);
	CHECK(read(end[0], &byte, 1) == 1);

	CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
}

static void write_to(const char *path, const void *content, size_t size, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK(fd >= 0 && write(fd, content, size) == (ssize_t) size && fchmod(fd, mode) == 0);
	close(fd);
}

static void links(void)
{
	static const char *const names[] = { "/proc/self/ns/net", "/proc/thread-self/ns/mnt" };
	char target[PATH_MAX], expected[PATH_MAX];
	struct stat statl, statl2;
	int fd = open("file", O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0);
	for (int i = 0; i < 3; i++) {
		if (i == 2)
			sprintf(target, "/proc/self/fd/%d", fd);
		else if (i == 1)
			sprintf(target, "/proc/self/task/%d/fd/%d", getpid(), fd);
		else
			sprintf(target, "/proc/thread-self/fd/%d", fd);
		CHECK(symlink(target, "link") == 0);
		CHECK(fstat(fd, &statl) == 0 && stat("link", &statl2) == 0 && statl.st_ino == statl2.st_ino);
		CHECK(close(open("link", O_WRONLY)) == 0);
		CHECK(FAILS(open("link/x", O_RDONLY), ENOTDIR));
		CHECK(unlink("link") == 0);
	}

	for (int i = 0; i < 2; i++) {
		CHECK(stat(names[i], &statl) == 0);
		sprintf(expected, "%s:[%lu]", strrchr(names[i], '/') + 1, (unsigned long) statl.st_ino);
		CHECK(symlink(names[i], "link") == 0);
		for (int j = 0; j < 2; j++) {
			fd = open(j == 0 ? names[i] : "link", O_RDONLY);
			CHECK(fd >= 0 && fstat(fd, &statl2) == 0 && statl.st_ino == statl2.st_ino);
			close(fd);
		}
		memset(target, 0, sizeof(target));
		CHECK(readlink(names[i], target, sizeof(target)) > 0 && strcmp(target, expected) == 0);
		CHECK(lstat(names[i], &statl) == 0 && S_ISLNK(statl.st_mode));
		CHECK(unlink("link") == 0);
	}
}

static void renamed_by_child(const char *from, const char *to, int flags)
{
	pid_t child = fork();

	if (child == 0)
		_exit(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags) == 0 ? 0 : 1);
	CHECK(end_of(child) == 0);
}

/* Is the working directory @name in @top, and usable?  */
static void check_place(const char *top, const char *name)
{
	char expected[PATH_MAX], path[PATH_MAX];
	struct stat statl;

	snprintf(expected, sizeof(expected), "%s/%s", top, name);
	/* Often enough for PRoot to leave the answers to the guest.  */
	for (int i = 0; i < 20; i++) {
		CHECK(getcwd(path, sizeof(path)) != NULL && strcmp(path, expected) == 0);
		CHECK(stat("file", &statl) == 0);
		CHECK(stat(".", &statl) == 0);
	}
	CHECK(close(open("new", O_RDWR | O_CREAT, 0600)) == 0);
	memset(path, 0, sizeof(path));
	CHECK(readlink("/proc/self/cwd", path, sizeof(path)) > 0 && strcmp(path, expected) == 0);
	CHECK(close(open("../sibling", O_RDWR | O_CREAT, 0600)) == 0);
}

static void renames(void)
{
	char top[PATH_MAX - 64], path[PATH_MAX], content[4096];
	int from[2], to[2], fd, copy;
	ssize_t size;
	pid_t child;

	CHECK(getcwd(top, sizeof(top)) != NULL);
	CHECK(mkdir("a", 0700) == 0 && mkdir("a/b", 0700) == 0 && mkdir("x", 0700) == 0 && mkdir("x/b", 0700) == 0);
	write_to("a/b/file", "", 0, 0600);
	write_to("x/b/file", "", 0, 0600);
	CHECK(chdir("a/b") == 0);
	check_place(top, "a/b");
	snprintf(path, sizeof(path), "%s/c", top);
	renamed_by_child("../../a", path, 0);
	check_place(top, "c/b");
	CHECK(unlink("../sibling") == 0);

	/* Another process, and one that shares the working directory with it.  */
	CHECK(pipe(from) == 0 && pipe(to) == 0);
	child = fork();
	if (child == 0) {
		char byte;

		CHECK(read(to[0], &byte, 1) == 1);
		check_place(top, "x/b");
		_exit(0);
	}
	renamed_by_child("../../c", "../../x", RENAME_EXCHANGE);
	CHECK(write(to[1], "", 1) == 1);
	CHECK(end_of(child) == 0);
	CHECK(rename("../b", "../d") == 0);
	check_place(top, "x/d");
	CHECK(chdir("..") == 0 && chdir("..") == 0);

	/* A program.  */
	CHECK((fd = open(self, O_RDONLY)) >= 0 && (copy = open("x/program", O_WRONLY | O_CREAT, 0700)) >= 0);
	while ((size = read(fd, content, sizeof(content))) > 0)
		CHECK(write(copy, content, size) == size);
	close(fd);
	close(copy);
	child = fork();
	if (child == 0) {
		CHECK(dup2(to[0], 0) == 0 && dup2(from[1], 1) == 1);
		execl("x/program", "program", "wait", NULL);
		_exit(1);
	}
	CHECK(read(from[0], content, 1) == 1);
	renamed_by_child("x", "y", 0);
	CHECK(rename("y/program", "y/other") == 0);
	CHECK(write(to[1], "", 1) == 1);
	CHECK(end_of(child) == 0);
	memset(content, 0, sizeof(content));
	CHECK(read(from[0], content, sizeof(content)) > 0);
	snprintf(path, sizeof(path), "%s/y/other", top);
	CHECK(strcmp(content, path) == 0);
}

static void check_event(pid_t pid, int flags, int code, int status)
{
	siginfo_t info = { .si_pid = -1 };

	errno = 0;
	CHECK(waitid(pid == 0 ? P_ALL : P_PID, pid, &info, flags) == 0);
	CHECK(info.si_code == code && info.si_status == status);
	CHECK(info.si_signo == (code != 0 ? SIGCHLD : 0) && info.si_errno == 0);
}

static void waits(void)
{
	int go[2], status;
	char byte;
	pid_t child, other;
	siginfo_t info;

	CHECK(pipe(go) == 0);
	for (int i = 0; i < 2; i++) {
		child = fork();
		if (child == 0) {
			CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
			raise(SIGSTOP);
			CHECK(read(go[0], &byte, 1) == 1);
			_exit(3);
		}
		check_event(i == 0 ? child : 0, WEXITED | WSTOPPED, CLD_TRAPPED, SIGSTOP);
		CHECK(ptrace(PTRACE_CONT, child, NULL, NULL) == 0);
		check_event(child, WEXITED | WSTOPPED | WNOHANG, 0, 0);

		/* One that isn't traced.  */
		other = fork();
		if (other == 0)
			_exit(4);
		check_event(other, WEXITED, CLD_EXITED, 4);

		CHECK(write(go[1], "", 1) == 1);
		check_event(i == 0 ? child : 0, WEXITED | WSTOPPED | WNOWAIT, CLD_EXITED, 3);
		check_event(i == 0 ? child : 0, WEXITED | WSTOPPED, CLD_EXITED, 3);
		CHECK(FAILS(waitid(P_ALL, 0, &info, WEXITED), ECHILD));
	}

	child = fork();
	if (child == 0) {
		CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
		raise(SIGUSR1);
		_exit(0);
	}
	check_event(child, WEXITED | WNOWAIT, CLD_TRAPPED, SIGUSR1);
	check_event(child, WEXITED, CLD_TRAPPED, SIGUSR1);
	CHECK(ptrace(PTRACE_CONT, child, NULL, SIGTERM) == 0);
	check_event(child, WEXITED, CLD_KILLED, SIGTERM);

	/* Most likely its parent waits already, for its process group.  */
	child = fork();
	if (child == 0) {
		usleep(50000);
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 3 : 1);
	}
	CHECK(waitpid(0, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

/* What comes of the script, or program, with this @content: an error, or its output.  */
static const char *outcome(const void *content, size_t size)
{
	static char output[PATH_MAX];
	int end[2];
	pid_t child;

	write_to("program", content, size, 0700);
	CHECK(pipe(end) == 0);
	child = fork();
	if (child == 0) {
		CHECK(dup2(end[1], 1) == 1);
		execl("./program", "zero", "one", NULL);
		dprintf(1, "%s", strerror(errno));
		_exit(0);
	}
	close(end[1]);
	memset(output, 0, sizeof(output));
	CHECK(read(end[0], output, sizeof(output) - 1) >= 0);
	close(end[0]);
	CHECK(end_of(child) == 0);
	return output;
}

static void check_script(const char *format, const char *expected)
{
	char content[PATH_MAX];

	snprintf(content, sizeof(content), format, self);
	errno = 0;
	if (strcmp(outcome(content, strlen(content)), expected) != 0) {
		printf("script '%s': '%s' instead of '%s'\n", content, outcome(content, strlen(content)), expected);
		exit(1);
	}
}

static void names(void)
{
	const char *const not_found = strerror(ENOENT), *const no_program = strerror(ENOEXEC);
	char long_name[600];
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr segment;
	} program;

	CHECK(FAILS(chdir(""), ENOENT));
	CHECK(FAILS(syscall(SYS_chdir, NULL), EFAULT));
	CHECK(FAILS(execl("", "x", NULL), ENOENT));
	CHECK(FAILS(rmdir(""), ENOENT));

	check_script("#!%s args\n", "args|./program|one");
	check_script("#! \t%s \t args  x \t\nmore", "args  x|./program|one");
	check_script("#!%s args", "args|./program|one");
	check_script("#!%s args\r\n", "args\r|./program|one");
	check_script("#!%s\r\n", not_found);
	check_script("#!\n", no_program);
	memset(long_name, 'x', sizeof(long_name));
	memcpy(long_name, "#!/", 3);
	CHECK(strcmp(outcome(long_name, sizeof(long_name)), no_program) == 0);

	/* Nothing to load, and an interpreter with an endless name.  */
	memset(&program, 0, sizeof(program));
	memcpy(program.header.e_ident, ELFMAG, SELFMAG);
	program.header.e_ident[EI_CLASS] = ELFCLASS64;
	program.header.e_ident[EI_DATA] = ELFDATA2LSB;
	program.header.e_ident[EI_VERSION] = EV_CURRENT;
	program.header.e_type = ET_DYN;
#if defined(__aarch64__)
	program.header.e_machine = EM_AARCH64;
#else
	program.header.e_machine = EM_X86_64;
#endif
	program.header.e_version = EV_CURRENT;
	program.header.e_ehsize = sizeof(program.header);
	program.header.e_phentsize = sizeof(program.segment);
	program.header.e_phoff = sizeof(program.header);
	CHECK(strcmp(outcome(&program, sizeof(program)), no_program) == 0);
	program.header.e_phnum = 1;
	program.segment.p_type = PT_INTERP;
	for (int i = 0; i < 2; i++) {
		program.segment.p_filesz = i == 0 ? ~0UL : PATH_MAX + 1;
		CHECK(strcmp(outcome(&program, sizeof(program)), no_program) == 0);
	}
}

static void changed_root(void)
{
	char target[PATH_MAX] = "";
	int fd;

	CHECK(mkdir("root", 0700) == 0 && mkdir("root/name.", 0700) == 0 && mkdir("root/name./in", 0700) == 0);
	CHECK(symlink("/somewhere", "link") == 0);
	CHECK((fd = open("link", O_PATH | O_NOFOLLOW)) >= 0);
	CHECK(chroot("root") == 0 && chdir("/") == 0);
	CHECK(readlinkat(fd, "", target, sizeof(target)) > 0 && strcmp(target, "/somewhere") == 0);
	CHECK(chroot("name.") == 0 && chdir("/") == 0 && access("/in", F_OK) == 0);
}

int main(int argc, char *argv[])
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "forks", look_at_forks }, { "attach", attach_to_forks }, { "traced", traced }, { "links", links }, { "renames", renames },
		{ "waits", waits }, { "names", names }, { "chroot", changed_root },
	};
	char path[PATH_MAX] = "", byte;

	if (argc > 1 && strncmp(argv[1], "args", 4) == 0) {
		for (int i = 1; i < argc; i++)
			printf("%s%s", i == 1 ? "" : "|", argv[i]);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "wait") == 0) {
		CHECK(write(1, "", 1) == 1 && read(0, &byte, 1) == 1);
		CHECK(readlink("/proc/self/exe", path, sizeof(path)) > 0 && access("/proc/self/exe", X_OK) == 0);
		return write(1, path, strlen(path)) < 0;
	}

	CHECK(readlink("/proc/self/exe", path, sizeof(path)) > 0);
	self = path;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (argc == 2 && strcmp(argv[1], cases[i].name) == 0) {
			cases[i].run();
			return 0;
		}
	}
	return 2;
}
