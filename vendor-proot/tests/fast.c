/* Prints what many system calls say about many odd paths; see fast.sh.
 *
 * fast read SEED COUNT: looks at what is in the current directory and around.
 * fast write SEED COUNT: makes, renames and removes things below it.
 * fast fixed: some special cases.
 *
 * The same arguments give the same calls. Inode numbers are printed by "read" only. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __x86_64__
/* The number is a constant, as in the C libraries: such calls may be answered in the guest itself. */
#define syscall(number, args...) call6(number, ##args, 0, 0, 0, 0, 0, 0)
#define call6(number, a, b, c, d, e, f, rest...) ({ \
	long a_ = (long)(a), b_ = (long)(b), c_ = (long)(c), d_ = (long)(d), e_ = (long)(e), f_ = (long)(f), result_; \
	register long r10 asm("r10") = d_, r8 asm("r8") = e_, r9 asm("r9") = f_; \
	asm volatile("movl %1, %%eax\n\tsyscall" \
		: "=&a"(result_) : "i"(number), "D"(a_), "S"(b_), "d"(c_), "r"(r10), "r"(r8), "r"(r9) \
		: "rcx", "r11", "memory", "cc"); \
	if (result_ < 0 && result_ > -4096) { errno = -result_; result_ = -1; } \
	result_; })
#endif

static uint64_t state;

static unsigned pick(unsigned limit)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned) ((state >> 33) % limit);
}

static const char *const names[] = {
	"d", "d/e", "d/e/f", "file", "d/file", "abs", "rel", "up", "loop", "dangling", "chain", "tobind",
	"throughbind", "slash", "self", "none", "d/e/none", "closed", "closed/x", "noread", "todot", "b", "b/in",
	"b/link", "b/out", "b/sub", "far", ".", "..", "./", "../w", "//", "", "exec", "rofile", "b/sub/../in", "pipe",
};
static const char *const roots[] = { "/w", "/", "/b", "/dev", "/proc/self/cwd", "/etc", "/proc", "/x/y", "/x", "/n/deep" };

static void make_path(char path[PATH_MAX])
{
	unsigned parts = pick(4) + 1;

	path[0] = '\0';
	if (pick(3) == 0)
		strcat(path, roots[pick(sizeof(roots) / sizeof(roots[0]))]);
	else if (pick(40) == 0)
		return;
	for (unsigned i = 0; i < parts; i++) {
		if (path[0] != '\0')
			strcat(path, "/");
		strcat(path, names[pick(sizeof(names) / sizeof(names[0]))]);
	}
	if (pick(5) == 0)
		strcat(path, pick(2) ? "/" : "/.");
	if (pick(200) == 0)
		for (int i = 0; i < 400; i++)
			strcat(path, pick(2) ? "/./././" : "///////");
}

static int with_inodes;
static dev_t device;

static void show(const char *what, long result)
{
	printf("%s=%ld,%d ", what, result, result < 0 ? errno : 0);
}

/* Process ids differ, and how long they are. */
static void show_path(const char *what, long result, const char *path)
{
	char pid[24];
	size_t size = sprintf(pid, "%d", getpid());
	long length = result;

	for (long i = 0; i + (long) size <= length; i++)
		if (memcmp(path + i, pid, size) == 0)
			result += 3 - size;
	show(what, result);
	while (length > 0) {
		if (length >= (long) size && memcmp(path, pid, size) == 0) {
			printf("PID");
			path += size;
			length -= size;
			continue;
		}
		putchar(*path++);
		length--;
	}
	putchar(' ');
}

static void show_stat(const char *what, long result, const struct stat *st)
{
	show(what, result);
	if (result == 0) {
		printf("[%o %ld %d:%d %lx ", st->st_mode, S_ISDIR(st->st_mode) ? 0 : (long) st->st_nlink, st->st_uid, st->st_gid, (long) st->st_rdev);
		if (with_inodes)
			printf("%lx ", (long) st->st_dev);
		if (with_inodes && st->st_dev == device)
			printf("%ld %ld", (long) st->st_ino, (long) st->st_size);
		if (with_inodes && st->st_dev == device && !S_ISDIR(st->st_mode))
			printf(" %ld.%ld", (long) st->st_mtim.tv_sec, (long) st->st_mtim.tv_nsec);
		printf("] ");
	}
}

static void read_only(int count)
{
	int dirs[] = { AT_FDCWD, -1, -1, -1, -1, -1, 999, -1, -1 };
	char path[PATH_MAX * 2], buffer[PATH_MAX];
	struct statx sx;
	struct stat st;
	long result;
	int fd, size;

	dirs[1] = open("d", O_RDONLY);
	dirs[2] = open("d/e", O_PATH);
	dirs[3] = open("b", O_RDONLY);
	dirs[4] = open("/", O_RDONLY);
	dirs[5] = open("file", O_RDONLY);
	dirs[7] = open("abs", O_PATH | O_NOFOLLOW);
	dirs[8] = open("/proc/self", O_RDONLY);
	with_inodes = 1;
	if (stat("/w", &st) == 0)
		device = st.st_dev;
	while (count-- > 0) {
		int dir = dirs[pick(9)];

		if (pick(8) == 0) {
			make_path(path);
			show("chdir", pick(4) ? chdir(path) : chdir("/w"));
			result = syscall(SYS_getcwd, buffer, pick(5) ? PATH_MAX : pick(12));
			show_path("getcwd", result, buffer);
			printf("\n");
			continue;
		}
		make_path(path);
		printf("%d %.300s(%zd): ", dir, path, strlen(path));
		memset(&st, 0, sizeof(st));
#ifdef SYS_stat
		show_stat("stat", syscall(SYS_stat, path, &st), &st);
		show_stat("lstat", syscall(SYS_lstat, path, &st), &st);
		show("access", syscall(SYS_access, path, pick(8)));
		buffer[0] = '\0';
		result = syscall(SYS_readlink, path, buffer, PATH_MAX);
		show_path("readlink", result, buffer);
#endif
		result = syscall(SYS_newfstatat, dir, path, &st, 0);
		show_stat("at", result, &st);
		result = syscall(SYS_newfstatat, dir, path, &st, AT_SYMLINK_NOFOLLOW);
		show_stat("lat", result, &st);
		result = syscall(SYS_newfstatat, dir, path, &st, AT_EMPTY_PATH | (pick(2) ? AT_SYMLINK_NOFOLLOW : 0));
		show_stat("eat", result, &st);
		result = syscall(SYS_newfstatat, dir, path, &st, pick(0x2000) << 1);
		show_stat("fat", result, &st);
		memset(&sx, 0, sizeof(sx));
		result = statx(dir, path, pick(4) ? 0 : AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, pick(2) ? STATX_BASIC_STATS : pick(0x1000), &sx);
		show("statx", result);
		if (result == 0)
			printf("[%x %o %d:%d %lld] ", sx.stx_mask, sx.stx_mode, sx.stx_uid, sx.stx_gid, sx.stx_mode & S_IFDIR ? 0 : (long long) sx.stx_size);
		show("faccessat", syscall(SYS_faccessat, dir, path, pick(9)));
		show("faccessat2", syscall(SYS_faccessat2, dir, path, pick(8), pick(2) ? 0 : pick(2) ? AT_SYMLINK_NOFOLLOW : AT_EACCESS));
		size = pick(4) ? PATH_MAX : (int) pick(10) - 1;
		memset(buffer, '#', 16);
		result = syscall(SYS_readlinkat, dir, path, buffer, size);
		show_path("readlinkat", result, buffer);
		fd = openat(dir, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (pick(3) ? 0 : O_NOFOLLOW) | (pick(3) ? 0 : O_PATH) | (pick(4) ? 0 : O_DIRECTORY));
		show("open", fd < 0 ? fd : 0);
		if (fd >= 0) {
			char link[32];

			show_stat("fstat", syscall(SYS_fstat, fd, &st), &st);
			show_stat("fstatat", syscall(SYS_newfstatat, fd, "", &st, AT_EMPTY_PATH), &st);
			snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
			result = readlink(link, buffer, sizeof(buffer));
			show_path("fd", result, buffer);
			close(fd);
		}
		printf("\n");
	}
}

static void list(int dir, const char *name, int depth)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	struct dirent **entries = NULL;
	char link[PATH_MAX];
	int count;

	show("list", fd < 0 ? fd : 0);
	printf("%*s%s\n", depth, "", name);
	if (fd < 0)
		return;
	count = scandirat(fd, ".", &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		const char *entry = entries[i]->d_name;
		struct stat st;
		long result;

		if (strcmp(entry, ".") != 0 && strcmp(entry, "..") != 0) {
			result = fstatat(fd, entry, &st, AT_SYMLINK_NOFOLLOW);
			printf("%*s%s ", depth, "", entry);
			show_stat("lstat", result, &st);
			if (result == 0 && S_ISLNK(st.st_mode)) {
				result = readlinkat(fd, entry, link, sizeof(link));
				printf("-> %.*s", (int) (result > 0 ? result : 0), link);
			}
			printf("\n");
			if (S_ISDIR(st.st_mode) && depth < 12)
				list(fd, entry, depth + 1);
		}
		free(entries[i]);
	}
	free(entries);
	close(fd);
}

static void make_name(char path[PATH_MAX])
{
	static const char *const parts[] = { "a", "b", "c", "l", "m", "..", ".", "a/b", "l/m", "b/a/c" };
	unsigned count = pick(4) + 1;

	path[0] = '\0';
	if (pick(3) == 0)
		strcpy(path, "/w/t");
	while (count-- > 0) {
		if (path[0] != '\0')
			strcat(path, "/");
		strcat(path, parts[pick(10)]);
	}
	/* Stay in it.  */
	if (strstr(path, "..") != NULL && pick(4) != 0)
		strcpy(path, "a");
	if (pick(8) == 0)
		strcat(path, "/");
}

static void writing(int count)
{
	char path[PATH_MAX], other[PATH_MAX], buffer[PATH_MAX];
	struct stat st;
	int fd;

	mkdir("t", 0755);
	chdir("t");
	while (count-- > 0) {
		make_name(path);
		make_name(other);
		if (strstr(path, "..") != NULL || strstr(other, "..") != NULL) {
			printf("%s: ", path);
			memset(&st, 0, sizeof(st));
			show_stat("lstat", lstat(path, &st), &st);
			printf("\n");
			continue;
		}
		printf("%s %s: ", path, other);
		switch (pick(16)) {
		case 0:
		case 1:
		case 2:
			show("mkdir", mkdir(path, pick(3) ? 0755 : 0711));
			break;
		case 3:
		case 4:
			fd = open(path, O_CREAT | O_WRONLY | (pick(2) ? O_EXCL : O_TRUNC), pick(2) ? 0644 : 0400);
			show("creat", fd < 0 ? fd : 0);
			if (fd >= 0) {
				write(fd, path, strlen(path));
				show_stat("fstat", fstat(fd, &st), &st);
				close(fd);
			}
			break;
		case 5:
		case 6:
			show("symlink", symlink(other, path));
			break;
		case 7:
			show("link", linkat(AT_FDCWD, path, AT_FDCWD, other, pick(2) ? 0 : AT_SYMLINK_FOLLOW));
			break;
		case 8:
			show("rename", rename(path, other));
			break;
		case 9:
			show("unlink", unlink(path));
			break;
		case 10:
			show("rmdir", rmdir(path));
			break;
		case 11:
			show("chmod", chmod(path, 0700 | pick(01000)));
			break;
		case 12:
			show("chdir", pick(2) ? chdir(path) : chdir("/w/t"));
			errno = 0;
			printf("%s ", getcwd(buffer, sizeof(buffer)) ? buffer : "?");
			show("cwd", -errno);
			break;
		case 13:
			show("truncate", truncate(path, 3));
			show("utimensat", utimensat(AT_FDCWD, path, NULL, 0));
			show("chown", chown(path, getuid(), getgid()));
			break;
		case 14:
			fd = open(path, O_RDONLY | O_NONBLOCK);
			show("open", fd < 0 ? fd : 0);
			if (fd >= 0) {
				show("fchmod", fchmod(fd, 0744));
				show("fchdir", fchdir(fd));
				close(fd);
			}
			break;
		default:
			show_stat("stat", stat(path, &st), &st);
			show_stat("lstat", lstat(other, &st), &st);
			break;
		}
		printf("\n");
	}
	chdir("/w");
	list(AT_FDCWD, "t", 0);
}

static void fixed(void)
{
	char buffer[PATH_MAX], path[PATH_MAX];
	struct rlimit limit;
	struct stat st;
	int fd, pipes[2];
	void *brk0;

	/* A current directory that is removed, moved, made again.  */
	mkdir("/w/gone", 0755);
	chdir("/w/gone");
	fd = open(".", O_RDONLY | O_DIRECTORY);
	rmdir("/w/gone");
	show("getcwd", syscall(SYS_getcwd, buffer, sizeof(buffer)));
	show("stat", stat(".", &st));
	show("stat", stat("x", &st));
	show("at", fstatat(fd, "x", &st, 0));
	show("at", fstatat(fd, ".", &st, 0));
	show("at", fstatat(fd, "", &st, AT_EMPTY_PATH));
	mkdir("/w/gone", 0755);
	show("getcwd", syscall(SYS_getcwd, buffer, sizeof(buffer)));
	rename("/w/gone", "/w/moved");
	show("getcwd", syscall(SYS_getcwd, buffer, sizeof(buffer)));
	printf("%s\n", buffer);
	chdir("/w");
	rmdir("/w/moved");
	close(fd);

	/* Bad addresses and descriptors.  */
	show("stat", syscall(SYS_newfstatat, AT_FDCWD, NULL, &st, 0));
	show("stat", syscall(SYS_newfstatat, AT_FDCWD, 8, &st, 0));
	show("stat", syscall(SYS_newfstatat, AT_FDCWD, "/", 8, 0));
	show("fstat", syscall(SYS_fstat, 77, &st));
	show("fstat", syscall(SYS_fstat, -1, &st));
	show("fstat", syscall(SYS_fstat, 0, 8));
	show("readlink", syscall(SYS_readlinkat, AT_FDCWD, "abs", 8, 10));
	show("getcwd", syscall(SYS_getcwd, 8, 4096));
	show("getcwd", syscall(SYS_getcwd, buffer, 0));
	show("getcwd", syscall(SYS_getcwd, buffer, 2));
	show("access", syscall(SYS_faccessat, AT_FDCWD, NULL, 0));
	show("statx", syscall(SYS_statx, 0, NULL, AT_EMPTY_PATH, 0, &st));

	/* Things that are no files.  */
	pipe(pipes);
	show_stat("pipe", fstat(pipes[0], &st), &st);
	show("at", fstatat(pipes[0], "x", &st, 0));
	fd = open("/dev/null", O_RDWR);
	show_stat("null", fstat(fd, &st), &st);
	show_stat("null", stat("/dev/stdin", &st), &st);
	printf("\n");

	/* A path that is exactly as long as allowed, and longer.  */
	for (int length = PATH_MAX - 6; length < PATH_MAX + 3; length++) {
		char *long_path = malloc(length + 1);

		memset(long_path, '/', length);
		memcpy(long_path + length - 4, "file", 5);
		show("long", stat(long_path, &st));
		memcpy(long_path, "/w/", 3);
		show("long", stat(long_path, &st));
		free(long_path);
	}
	for (int length = 252; length < 258; length++) {
		memset(path, 'n', length);
		path[length] = '\0';
		show("name", stat(path, &st));
		strcat(path, "/x");
		show("name", lstat(path, &st));
	}
	printf("\n");

	/* Identity, limits, memory.  */
	printf("%d %d %d %d ", getuid(), geteuid(), getgid(), getegid());
	show("setuid", setresuid(1000, 1000, 0));
	printf("%d %d %d %d ", getuid(), geteuid(), getgid(), getegid());
	show_stat("own", stat("file", &st), &st);
	show("setuid", setresuid(0, 0, 0));
	printf("%d %d\n", getuid(), geteuid());
	show("prlimit", prlimit(0, RLIMIT_NOFILE, NULL, &limit));
	printf("%ld ", (long) limit.rlim_cur);
	limit.rlim_cur = 100;
	show("prlimit", prlimit(0, RLIMIT_NOFILE, &limit, NULL));
	show("prlimit", prlimit(0, RLIMIT_NOFILE, NULL, &limit));
	printf("%ld ", (long) limit.rlim_cur);
	brk0 = sbrk(0);
	printf("%d ", brk0 == sbrk(0));
	printf("%d ", brk0 == sbrk(100000));
	memset(brk0, 1, 100000);
	printf("%d ", (char *) brk0 + 100000 == sbrk(0));
	printf("%d\n", (long) syscall(SYS_brk, 0) == (long) brk0 + 100000);

	/* Waiting for children.  */
	for (int i = 0; i < 3; i++) {
		int status = -1;
		pid_t pid = i == 1 ? vfork() : fork();

		if (pid == 0)
			_exit(i + 3);
		pid = waitpid(i == 2 ? -1 : pid, &status, 0);
		printf("%d:%d ", pid > 0, status);
	}
	show("wait", wait(NULL));
	printf("\n");

	/* Namespaces of one's own.  */
	if (fork() == 0) {
		if (unshare(CLONE_NEWUSER) == 0)
			show_stat("userns", stat("/w/file", &st), &st);
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	printf("\n");
}

int main(int argc, char *argv[])
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	if (argc > 2)
		state = strtoull(argv[2], NULL, 10) * 2654435761u + 1;
	if (argc == 4 && strcmp(argv[1], "read") == 0)
		read_only(atoi(argv[3]));
	else if (argc == 4 && strcmp(argv[1], "write") == 0)
		writing(atoi(argv[3]));
	else if (argc == 2 && strcmp(argv[1], "fixed") == 0)
		fixed();
	else
		return 2;
	return 0;
}
