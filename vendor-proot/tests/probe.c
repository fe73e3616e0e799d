/* Makes system calls that take paths, for read-only.sh, syscalls.sh and threads.sh; run it in a guest.
 *
 * probe write DIR: tries every way to change what is in DIR, where "file", "link" (to it), "fifo"
 *     and "dir" exist; prints each call with the name of its error.
 * probe look PATH SOCKET: tries every call that finds PATH, an executable, or SOCKET; the same
 *     output.
 * probe threads: changes directory and executes a program in threads.
 * probe memory: executes itself from a memory file.
 * probe receive PATH, probe socket PATH: listen at PATH, and tell who they are.
 * probe post FROM TO: sends a datagram.
 * probe reply, probe remove PATH, probe restart FIFO, probe chroots PATH, probe owner, probe vectors PATH: see there.
 * probe attributes FILE UID GID MODE: whether fstat and statx show these.
 * probe as UID GID COMMAND...: executes the command as somebody else.
 * probe int80 PATH: opens it by the 32-bit interface, from 64-bit code; exits with the error.
 * probe openat2 PATH MODE: creates it.
 * probe audit: opens the audit log; prints the name of its error.
 * probe mounts DIR: whether a bind mount makes it writable.
 * probe exit, probe echo TEXT: for the above.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

/* Numbers are the same everywhere since 424.  */
enum {
	NR_io_uring_setup = 425, NR_open_tree = 428, NR_move_mount = 429, NR_fsopen = 430,
	NR_fspick = 433, NR_openat2 = 437, NR_faccessat2 = 439, NR_mount_setattr = 442,
	NR_landlock_create_ruleset = 444,
	NR_fchmodat2 = 452, NR_statmount = 457, NR_listmount = 458, NR_setxattrat = 463,
	NR_getxattrat = 464, NR_listxattrat = 465, NR_removexattrat = 466, NR_open_tree_attr = 467,
	NR_file_getattr = 468, NR_file_setattr = 469, NR_future = 500,
};

static char base[4096];

static const char *in(const char *name)
{
	static char paths[8][8192];
	static int next;
	char *path = paths[next++ % 8];

	snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
	return path;
}

static const char *error(long result)
{
	return result >= 0 ? "OK" : strerrorname_np(errno);
}

static void report(const char *call, long result)
{
	printf("%s %s\n", call, error(result));
}

/* Reports an open, and closes it.  */
static void report_fd(const char *call, int fd)
{
	report(call, fd);
	if (fd >= 0)
		close(fd);
}

static long bind_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	long result;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	result = bind(fd, (void *) &address, sizeof(address));
	close(fd);
	return result;
}

static const char *fd_path(int fd)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

/* Sets the flags a file has, as chattr does.  */
static long set_flags(int fd)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		flags = 0;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 && errno != ENOTTY && errno != EOPNOTSUPP ? -1 : 0;
}

static long set_xflags(int fd)
{
	struct fsxattr attributes;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
		memset(&attributes, 0, sizeof(attributes));
	return ioctl(fd, FS_IOC_FSSETXATTR, &attributes) < 0 && errno != ENOTTY && errno != EOPNOTSUPP ? -1 : 0;
}

static long is_writable(const struct statfs *statfs_)
{
	errno = EROFS;
	return (statfs_->f_flags & ST_RDONLY) != 0 ? -1 : 0;
}

static void write_calls(void)
{
	struct statfs statfs_;
	struct timespec times[2] = { { 1000, 0 }, { 1000, 0 } };
	struct { uint64_t flags, mode, resolve; } how = { O_WRONLY, 0, 0 };
	int dir, file, fd;

	report_fd("open-write", open(in("file"), O_WRONLY));
	report_fd("open-both", open(in("file"), O_RDWR));
	report_fd("open-truncate", open(in("file"), O_RDONLY | O_TRUNC));
	report_fd("open-append", open(in("file"), O_WRONLY | O_APPEND));
	report_fd("open-link", open(in("link"), O_WRONLY));
	report_fd("open-create", open(in("created"), O_CREAT | O_RDONLY, 0600));
	report_fd("open-exclusive", open(in("created2"), O_CREAT | O_EXCL | O_WRONLY, 0600));
	report_fd("open-tmpfile", open(base, O_TMPFILE | O_RDWR, 0600));
	report_fd("creat", creat(in("created3"), 0600));
	report_fd("openat2", syscall(NR_openat2, AT_FDCWD, in("file"), &how, sizeof(how)));

	/* Through descriptors, and their paths.  */
	dir = open(base, O_RDONLY | O_DIRECTORY);
	file = open(in("file"), O_RDONLY);
	report_fd("openat-write", openat(dir, "file", O_WRONLY));
	report_fd("openat-up", openat(dir, "dir/../file", O_WRONLY));
	report_fd("openat-create", openat(dir, "created4", O_CREAT | O_WRONLY, 0600));
	report_fd("openat2-dir", syscall(NR_openat2, dir, "file", &how, sizeof(how)));
	how.resolve = 8; /* RESOLVE_BENEATH */
	report_fd("openat2-beneath", syscall(NR_openat2, dir, "file", &how, sizeof(how)));
	report_fd("open-fd-path", open(fd_path(file), O_RDWR));
	report("truncate-fd-path", truncate(fd_path(file), 0));
	report("chmod-fd-path", chmod(fd_path(file), 0644));
	fd = open(in("file"), O_PATH);
	report_fd("open-opath", open(fd_path(fd), O_RDWR));
	close(fd);
	{
		char path[5000];
		snprintf(path, sizeof(path), "/proc/self/fd/%d/file", dir);
		report_fd("open-dir-fd-path", open(path, O_WRONLY));
		snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", getpid(), getpid(), file);
		report_fd("open-task-path", open(path, O_WRONLY));
		snprintf(path, sizeof(path), "/dev/fd/%d", file);
		report_fd("open-dev-fd", open(path, O_WRONLY));
		snprintf(path, sizeof(path), "/proc/self/root/%s/file", base);
		report_fd("open-root-path", open(path, O_WRONLY));
		if (chdir(base) == 0) {
			report_fd("open-relative", open("file", O_WRONLY));
			report_fd("open-cwd-path", open("/proc/self/cwd/file", O_WRONLY));
			report_fd("open-parent", open("dir/../file", O_WRONLY));
		}
		if (fchdir(dir) == 0)
			report_fd("open-fchdir", open("file", O_WRONLY));
		if (chdir("/") < 0)
			exit(1);
	}
	report("fchmod", fchmod(file, 0644));
	report("fchown", fchown(file, getuid(), getgid()));
	report("futimens", futimens(file, times));
	report("fsetxattr", fsetxattr(file, "user.probe", "1", 1, 0));
	report("ioctl-flags", set_flags(file));
	report("ioctl-xflags", set_xflags(file));
	report("ioctl-dir-flags", set_flags(dir));
	report("statfs", statfs(base, &statfs_) == 0 ? is_writable(&statfs_) : -1);
	report("fstatfs", fstatfs(file, &statfs_) == 0 ? is_writable(&statfs_) : -1);
	report("fchmodat2-empty", syscall(NR_fchmodat2, file, "", 0644, AT_EMPTY_PATH));
	report("futimesat-empty", futimesat(file, NULL, NULL));
	report("fremovexattr", fremovexattr(file, "user.probe"));
	report("fchownat-empty", fchownat(file, "", getuid(), getgid(), AT_EMPTY_PATH));
	report("utimensat-empty", utimensat(file, "", times, AT_EMPTY_PATH));
	report("unlinkat", unlinkat(dir, "created", 0));
	report("mkdirat", mkdirat(dir, "made", 0700));
	report("symlinkat", symlinkat("x", dir, "made-link"));
	report("linkat", linkat(dir, "file", dir, "made-hard", 0));
	report("linkat-fd", linkat(AT_FDCWD, fd_path(file), dir, "made-hard2", AT_SYMLINK_FOLLOW));
	report("renameat", renameat(dir, "file", dir, "file2"));
	report("renameat2", syscall(SYS_renameat2, dir, "file2", dir, "file", 0));
	report("mknodat", mknodat(dir, "made-fifo", S_IFIFO | 0600, 0));
	report("fchmodat", fchmodat(dir, "file", 0644, 0));
	report("fchmodat2", syscall(NR_fchmodat2, dir, "file", 0644, 0));
	report("fchownat", fchownat(dir, "file", getuid(), getgid(), 0));
	report("utimensat", utimensat(dir, "file", times, 0));

	report("chmod", chmod(in("file"), 0644));
	report("chmod-link", chmod(in("link"), 0644));
	report("chmod-dir", chmod(in("dir"), 0755));
	report("chown", chown(in("file"), getuid(), getgid()));
	report("lchown", lchown(in("link"), getuid(), getgid()));
	report("utime", utime(in("file"), NULL));
	report("utimes", utimes(in("file"), NULL));
	report("lutimes", utimensat(AT_FDCWD, in("link"), times, AT_SYMLINK_NOFOLLOW));
	report("truncate", truncate(in("file"), 0));
	report("setxattr", setxattr(in("file"), "user.probe", "1", 1, 0));
	report("removexattr", removexattr(in("file"), "user.probe"));
	report("bind", bind_to(in("made-socket")));
	report("link", link(in("file"), in("made-hard3")));
	report("link-out", link(in("file"), "/tmp/made-hard"));
	report("symlink", symlink("file", in("made-link2")));
	report("rename", rename(in("file"), in("file2")));
	report("rename-back", rename(in("file2"), in("file")));
	report("rename-out", rename(in("file"), "/tmp/moved"));
	report("rename-in", rename("/tmp/moved", in("file")));
	report("mkdir", mkdir(in("made2"), 0700));
	report("rmdir", rmdir(in("made2")));
	report("mknod", mknod(in("made-node"), S_IFREG | 0600, 0));
	report("unlink", unlink(in("made-node")));
	report("access", access(in("file"), W_OK));
	report("access-dir", access(base, W_OK));
	report("faccessat2", syscall(NR_faccessat2, AT_FDCWD, in("file"), W_OK, 0));

	/* All this is allowed on read-only file-systems.  */
	report_fd("reading", open(in("file"), O_RDONLY));
	report_fd("reading-create", open(in("file"), O_RDONLY | O_CREAT, 0600));
	report_fd("reading-opath", open(in("file"), O_PATH | O_WRONLY));
	report_fd("fifo", open(in("fifo"), O_RDWR | O_NONBLOCK));
	report("fifo-access", access(in("fifo"), W_OK));
	report("read-access", access(in("file"), R_OK));
}

/* Whether a bind mount, in namespaces of its own, makes @path writable.  */
static int mounts(const char *path)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return errno == EPERM || errno == ENOSPC ? 0 : 1;
	if (mkdir("/tmp/mounted", 0700) < 0 || mount(path, "/tmp/mounted", NULL, MS_BIND | MS_REC, NULL) < 0)
		return 0;
	return creat("/tmp/mounted/by-mount", 0600) >= 0;
}

static long run(const char *path, int how)
{
	char *const argv[] = { (char *) path, "exit", NULL };
	char *const envp[] = { NULL };
	int channel[2], status, code = 0;
	pid_t pid;

	if (pipe2(channel, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		int fd;
		if (how == 0)
			execve(path, argv, envp);
		else if (how == 1)
			syscall(SYS_execveat, AT_FDCWD, path, argv, envp, 0);
		else {
			fd = open(path, O_PATH | O_CLOEXEC);
			if (fd >= 0)
				syscall(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
		}
		code = errno;
		(void) !write(channel[1], &code, sizeof(code));
		_exit(1);
	}
	close(channel[1]);
	if (read(channel[0], &code, sizeof(code)) <= 0)
		code = 0;
	close(channel[0]);
	waitpid(pid, &status, 0);
	errno = code;
	return code == 0 ? 0 : -1;
}

/* Sends a datagram to the socket @path.  */
static long post(const char *path, int how)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct iovec data = { "x", 1 };
	struct mmsghdr message;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	long result;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	memset(&message, 0, sizeof(message));
	message.msg_hdr.msg_name = &address;
	message.msg_hdr.msg_namelen = sizeof(address);
	message.msg_hdr.msg_iov = &data;
	message.msg_hdr.msg_iovlen = 1;

	switch (how) {
	case 0: result = connect(fd, (void *) &address, sizeof(address)); break;
	case 1: result = sendto(fd, "x", 1, 0, (void *) &address, sizeof(address)); break;
	case 2: result = sendmsg(fd, &message.msg_hdr, 0); break;
	default:
		result = sendmmsg(fd, &message, 1, 0);
		if (result == 1 && (message.msg_len != 1 || message.msg_hdr.msg_name != &address)) {
			errno = EILSEQ; /* the answer is lost */
			result = -1;
		}
	}
	close(fd);
	return result;
}

static int look_fd(long fd)
{
	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 0 : -1;
}

/* The calls that find the executable @path and the datagram @socket.  */
static void look_calls(const char *path, const char *socket)
{
	struct { uint64_t flags, mode, resolve; } how = { O_RDONLY, 0, 0 };
	struct { uint64_t value; uint32_t size, flags; } xattr = { 0, 0, 0 };
	union { char handle[1024]; unsigned int bytes; } handle = { .bytes = 128 };
	struct statfs statfs_;
	struct statx statx_;
	struct stat stat_, other;
	uint64_t attr[16] = { 0 };
	char buffer[4096];
	int number;
	const char *name = strrchr(path, '/') + 1;
	char directory[4096];
	int dir;

	snprintf(directory, sizeof(directory), "%.*s", (int) (name - path), path);
	dir = open(directory, O_RDONLY | O_DIRECTORY);

	report("open", look_fd(open(path, O_RDONLY)));
	report("openat", look_fd(openat(dir, name, O_RDONLY)));
	report("openat2", look_fd(syscall(NR_openat2, AT_FDCWD, path, &how, sizeof(how))));
	report("openat2-dir", look_fd(syscall(NR_openat2, dir, name, &how, sizeof(how))));
	how.resolve = 0x10; /* RESOLVE_IN_ROOT */
	report("openat2-root", look_fd(syscall(NR_openat2, AT_FDCWD, path, &how, sizeof(how))));
	report("open_tree", look_fd(syscall(NR_open_tree, AT_FDCWD, path, 0)));
	report("open_tree_attr", look_fd(syscall(NR_open_tree_attr, AT_FDCWD, path, 0, NULL, 0)));
	report("stat", stat(path, &stat_));
	report("lstat", lstat(path, &stat_));
	report("fstatat", fstatat(dir, name, &stat_, 0));
#ifdef SYS_stat
	report("stat-old", syscall(SYS_stat, path, &stat_));
	report("lstat-old", syscall(SYS_lstat, path, &stat_));
	report("open-old", look_fd(syscall(SYS_open, path, O_RDONLY)));
	report("access-old", syscall(SYS_access, path, R_OK));
	report("utime", syscall(SYS_utime, path, NULL));
	report("utimes", syscall(SYS_utimes, path, NULL));
	report("futimesat", syscall(SYS_futimesat, AT_FDCWD, path, NULL));
	report("chmod-old", syscall(SYS_chmod, path, 0755));
	report("chown-old", syscall(SYS_chown, path, -1, -1));
	report("lchown-old", syscall(SYS_lchown, path, -1, -1));
#endif
	report("statx", statx(AT_FDCWD, path, 0, STATX_ALL, &statx_));
	report("statfs", statfs(path, &statfs_));
	report("access", access(path, R_OK));
	report("faccessat2", syscall(NR_faccessat2, AT_FDCWD, path, R_OK, AT_SYMLINK_NOFOLLOW));
	report("utimensat", utimensat(AT_FDCWD, path, NULL, 0));
	report("fchmodat", syscall(SYS_fchmodat, AT_FDCWD, path, 0755));
	report("fchmodat2", syscall(NR_fchmodat2, AT_FDCWD, path, 0755, 0));
	report("fchownat", fchownat(AT_FDCWD, path, -1, -1, 0));
	report("truncate", truncate(path, 1 << 20));
	errno = 0;
	report("readlink", readlink(path, buffer, sizeof(buffer)) < 0 && errno == EINVAL ? 0 : -1);
	report("listxattr", listxattr(path, buffer, sizeof(buffer)));
	report("llistxattr", llistxattr(path, buffer, sizeof(buffer)));
	setxattr(path, "user.probe", "1", 1, 0);
	report("getxattr", getxattr(path, "user.probe", buffer, sizeof(buffer)) < 0
		&& errno != ENODATA && errno != EOPNOTSUPP ? -1 : 0);
	report("setxattrat", syscall(NR_setxattrat, AT_FDCWD, path, 0, "user.x", &xattr, sizeof(xattr)));
	report("getxattrat", syscall(NR_getxattrat, AT_FDCWD, path, 0, "user.x", &xattr, sizeof(xattr)));
	report("listxattrat", syscall(NR_listxattrat, AT_FDCWD, path, 0, buffer, sizeof(buffer)));
	report("removexattrat", syscall(NR_removexattrat, AT_FDCWD, path, 0, "user.x"));
	report("file_getattr", syscall(NR_file_getattr, AT_FDCWD, path, attr, 24, 0));
	report("file_setattr", syscall(NR_file_setattr, AT_FDCWD, path, attr, 24, 0));
	report("name_to_handle_at", syscall(SYS_name_to_handle_at, AT_FDCWD, path, &handle, &number, 0));
	report("inotify_add_watch", inotify_add_watch(inotify_init1(IN_CLOEXEC), path, IN_CREATE));
	report("fanotify", look_fd(syscall(SYS_fanotify_init, 0x200, 0)));
	report("move_mount", syscall(NR_move_mount, AT_FDCWD, path, AT_FDCWD, "/", 0));
	report("landlock", syscall(NR_landlock_create_ruleset, NULL, 0, 1));
	report("fsopen", look_fd(syscall(NR_fsopen, "tmpfs", 0)));
	report("fspick", look_fd(syscall(NR_fspick, AT_FDCWD, path, 0)));
	report("mount_setattr", syscall(NR_mount_setattr, AT_FDCWD, path, 0, attr, 32));
	report("statmount", syscall(NR_statmount, attr, buffer, sizeof(buffer), 0));
	report("listmount", syscall(NR_listmount, attr, buffer, 8, 0));
	report("io_uring_setup", look_fd(syscall(NR_io_uring_setup, 8, buffer)));
	report("future", syscall(NR_future, AT_FDCWD, path, 0, 0));
	report("execve", run(path, 0));
	report("execveat", run(path, 1));
	report("fexecve", run(path, 2));
	report("connect", post(socket, 0));
	report("sendto", post(socket, 1));
	report("sendmsg", post(socket, 2));
	report("sendmmsg", post(socket, 3));
	report("chdir-parent", chdir(directory));
	report("relative", stat(name, &stat_));
	report("openat2-relative", look_fd(syscall(NR_openat2, AT_FDCWD, name, &how, sizeof(how))));
	number = fstatat(AT_FDCWD, "", &stat_, AT_EMPTY_PATH);
	fstat(dir, &other);
	errno = EXDEV;
	report("cwd-empty", number < 0 || stat_.st_ino != other.st_ino ? -1 : 0);
	snprintf(buffer, sizeof(buffer), "/proc/self/root%s", path);
	report("proc-root", stat(buffer, &stat_));
	report("chdir", chdir(path) < 0 && errno == ENOTDIR ? 0 : -1);
	report("link", link(path, "/tmp/probe-link"));
	unlink("/tmp/probe-link");
	report("rename", rename(path, path));
}

/* Receives datagrams at @path.  */
static void receive(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	char byte;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (bind(fd, (void *) &address, sizeof(address)) < 0)
		exit(1);
	while (recv(fd, &byte, 1, 0) == 1)
		;
}

/* Connects to its own socket at @path, and shows the names of both ends.  */
static void connect_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int server = socket(AF_UNIX, SOCK_STREAM, 0);
	int client = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t size = sizeof(address);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (   bind(server, (void *) &address, size) < 0
	    || listen(server, 1) < 0
	    || connect(client, (void *) &address, size) < 0)
		exit(1);
	memset(&address, 0, sizeof(address));
	getsockname(server, (void *) &address, &size);
	printf("%s ", address.sun_path);
	size = sizeof(address);
	memset(&address, 0, sizeof(address));
	getpeername(client, (void *) &address, &size);
	printf("%s\n", address.sun_path);
}

/* Receives a datagram at @fd, in one of three ways, and returns its sender.  */
static const char *sender(int fd, int how, struct sockaddr_un *address, socklen_t *size)
{
	char byte;
	struct iovec data = { &byte, 1 };
	struct mmsghdr message = { .msg_hdr = { .msg_name = address, .msg_namelen = sizeof(*address),
						.msg_iov = &data, .msg_iovlen = 1 } };
	ssize_t status;

	*size = sizeof(*address);
	memset(address, 0, sizeof(*address));
	switch (how) {
	case 0:
		status = recvfrom(fd, &byte, 1, 0, (void *) address, size);
		break;
	case 1:
		status = recvmsg(fd, &message.msg_hdr, 0);
		*size = message.msg_hdr.msg_namelen;
		break;
	default:
		status = recvmmsg(fd, &message, 1, 0, NULL);
		*size = message.msg_hdr.msg_namelen;
	}
	return status == 1 ? address->sun_path : "failed";
}

/* Replies to the sender of a datagram, who is shown.  */
static int reply(void)
{
	struct sockaddr_un addresses[3] = { { AF_UNIX, "/tmp/server" }, { AF_UNIX, "/tmp/client" } };
	socklen_t size;
	int fds[2], i;
	char byte;

	for (i = 0; i < 2; i++) {
		unlink(addresses[i].sun_path);
		fds[i] = socket(AF_UNIX, SOCK_DGRAM, 0);
		if (bind(fds[i], (void *) &addresses[i], sizeof(addresses[i])) < 0)
			return 1;
	}
	for (i = 0; i < 3; i++) {
		if (sendto(fds[1], "x", 1, 0, (void *) &addresses[0], sizeof(addresses[0])) != 1)
			return 2;
		printf("%s ", sender(fds[0], i, &addresses[2], &size));
		if (   sendto(fds[0], "y", 1, 0, (void *) &addresses[2], size) != 1
		    || recv(fds[1], &byte, 1, 0) != 1)
			return 3;
	}
	/* Somebody else, who isn't in the guest.  */
	printf("%s\n", sender(fds[0], 0, &addresses[2], &size));
	return size != sizeof(sa_family_t);
}

/* Sends a datagram from @from to @to.  */
static int post_from(const char *from, const char *to)
{
	struct sockaddr_un address = { AF_UNIX, "" };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	int i;

	strncpy(address.sun_path, from, sizeof(address.sun_path) - 1);
	unlink(from);
	if (bind(fd, (void *) &address, sizeof(address)) < 0)
		return 1;
	strncpy(address.sun_path, to, sizeof(address.sun_path) - 1);
	for (i = 0; i < 1000; i++) {
		if (connect(fd, (void *) &address, sizeof(address)) == 0)
			return send(fd, "z", 1, 0) != 1;
		usleep(10000);
	}
	return 2;
}

/* Goes to a chroot and back, in both ways, with processes in between.  */
static int chroots(const char *root)
{
	int top = open("/", O_RDONLY | O_DIRECTORY);
	int i, status;

	for (i = 0; i < 20; i++) {
		if (chdir("/") < 0 || chroot(root) < 0)
			return 1;
		if (i % 2 != 0 && chdir("/") < 0)
			return 2;
		if (access("/jailed", F_OK) < 0)
			return 3;
		if (fork() == 0)
			_exit(access("/jailed", F_OK) < 0);
		if (wait(&status) < 0 || status != 0)
			return 4;
		if (i % 2 != 0 && fchdir(top) < 0)
			return 5;
		if (chroot(".") < 0 || access(root, F_OK) < 0)
			return 6;
		if (fork() == 0)
			_exit(access(root, F_OK) < 0);
		if (wait(&status) < 0 || status != 0)
			return 7;
	}
	return 0;
}

/* As musl's remove(3) is compiled: rmdir(2) if unlink(2) fails, in the same register.  */
static long remove_directory(const char *path)
{
#ifdef __x86_64__
	long result;

	asm volatile ("syscall\n\t"
		"mov %2, %%eax\n\t"
		"syscall"
		: "=a" (result) : "0" (SYS_unlink), "i" (SYS_rmdir), "D" (path) : "rcx", "r11", "memory");
	return result;
#else
	return rmdir(path);
#endif
}

static void ignore(int signal)
{
	(void) signal;
}

/* Opens the FIFO @path while a child ends, and leaves the register of the argument alone.  */
static int restart(const char *path)
{
	struct sigaction action = { .sa_handler = ignore, .sa_flags = SA_RESTART };
	int i;

	for (i = 0; i < 2; i++) {
		if (i == 1)
			sigaction(SIGCHLD, &action, NULL);
		if (fork() == 0) {
			usleep(50000);
			_exit(0);
		}
		if (fork() == 0) {
			usleep(200000);
			open(path, O_WRONLY);
			_exit(0);
		}
#ifdef __x86_64__
		const char *copy = path;
		long result;
		asm volatile ("syscall" : "=a" (result), "+D" (copy) : "0" (SYS_open), "S" (O_RDONLY), "d" (0) : "rcx", "r11", "memory");
		if (result < 0 || copy != path)
			return 1;
#else
		if (open(path, O_RDONLY) < 0)
			return 1;
#endif
		while (wait(NULL) > 0)
			;
	}
	return 0;
}

/* Executes a copy of itself that has no name and is closed on exec.  */
static void memory(void)
{
	char *const argv[] = { "probe", "echo", "from memory", NULL };
	int from = open("/proc/self/exe", O_RDONLY);
	int to = memfd_create("copy", MFD_CLOEXEC);

	while (sendfile(to, from, NULL, 1 << 20) > 0)
		;
	fexecve(to, argv, environ);
	exit(1);
}

/* A file belongs to the effective user, even if the saved one is root.  */
static int owner(void)
{
	struct stat stat_;

	return setresuid(-1, 77, -1) < 0
		|| setresuid(77, -1, -1) < 0
		|| stat("/bin", &stat_) < 0
		|| stat_.st_uid != 77;
}

/* The program, not PRoot's loader, is what AT_EXECFN and PR_GET_AUXV tell about.  */
static int vectors(const char *path)
{
	unsigned long copy[256] = { 0 };
	int i, size;

	if (strcmp((char *) getauxval(AT_EXECFN), path) != 0)
		return 1;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return 2;
	size = prctl(0x41555856 /* PR_GET_AUXV */, copy, sizeof(copy), 0, 0);
	if (size < 0 && errno == EINVAL)
		return 0; /* an older kernel */
	for (i = 0; copy[i] != AT_NULL && i * sizeof(copy[0]) < (size_t) size; i += 2) {
		if (copy[i] != AT_HWCAP && copy[i + 1] != getauxval(copy[i]))
			return 3;
	}
	return i == 0 ? 4 : 0;
}

static void *move(void *path)
{
	return chdir(path) < 0 ? NULL : sbrk(65536);
}

/* Has a working directory of its own.  */
static void *move_apart(void *path)
{
	char cwd[4096];
	char self[32] = "";

	if (readlink("/proc/self", self, sizeof(self) - 1) < 0 || atoi(self) != getpid())
		return "another process";
	return unshare(CLONE_FS) < 0 || chdir(path) < 0 || strcmp(getcwd(cwd, sizeof(cwd)), path) != 0
		? "failed" : "apart";
}

static void *execute(void *path)
{
	execl("/bin/sh", "sh", "-c", path, NULL);
	_exit(1);
}

/* Threads share their working directory and their heap, and any of them can call execve(2).  */
static void threads(void)
{
	char *end = sbrk(0);
	char cwd[4096];
	pthread_t thread;
	void *seen;

	pthread_create(&thread, NULL, move, "/tmp");
	pthread_join(thread, &seen);
	printf("%s %s\n", getcwd(cwd, sizeof(cwd)), seen == end && sbrk(0) == end + 65536 ? "shared" : "apart");
	pthread_create(&thread, NULL, move_apart, "/bin");
	pthread_join(thread, &seen);
	printf("%s %s\n", getcwd(cwd, sizeof(cwd)), (char *) seen);
	pthread_create(&thread, NULL, execute, "pwd; cd /bin && exit 7");
	pthread_join(thread, NULL);
}

/* The address has to fit 32 bits: this program isn't position-independent.  */
static int int80_open(const char *path)
{
#ifdef __x86_64__
	long result = 5; /* open */

	strncpy(base, path, sizeof(base) - 1);
	__asm__ volatile ("int $0x80" : "+a" (result) : "b" (base), "c" (O_RDONLY), "d" (0)
			: "memory", "r8", "r9", "r10", "r11");
	return (int) result < 0 ? -(int) result : 0;
#else
	(void) path;
	return ENOSYS;
#endif
}

static int has_attributes(const char *path, uid_t uid, gid_t gid, mode_t mode)
{
	struct statx statx_buffer;
	struct stat buffer;
	int fd = open(path, O_RDONLY);

	return fstat(fd, &buffer) == 0
	    && buffer.st_uid == uid && buffer.st_gid == gid && buffer.st_mode == mode
	    && statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &statx_buffer) == 0
	    && statx_buffer.stx_uid == uid && statx_buffer.stx_gid == gid && statx_buffer.stx_mode == mode
	    && statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &statx_buffer) == 0
	    && statx_buffer.stx_uid == uid && statx_buffer.stx_gid == gid && statx_buffer.stx_mode == mode;
}

int main(int argc, char *argv[])
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 4 && strcmp(argv[1], "openat2") == 0) {
		struct { uint64_t flags, mode, resolve; } how = { O_CREAT | O_EXCL | O_WRONLY, strtol(argv[3], NULL, 8), 0 };
		return syscall(NR_openat2, AT_FDCWD, argv[2], &how, sizeof(how)) < 0 ? errno : 0;
	}
	if (argc == 2 && strcmp(argv[1], "audit") == 0) {
		report("audit", socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT));
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "int80") == 0)
		return int80_open(argv[2]);
	if (argc == 6 && strcmp(argv[1], "attributes") == 0)
		return !has_attributes(argv[2], atoi(argv[3]), atoi(argv[4]), strtol(argv[5], NULL, 8));
	if (argc > 4 && strcmp(argv[1], "as") == 0) {
		if (setgid(atoi(argv[3])) == 0 && setuid(atoi(argv[2])) == 0)
			execvp(argv[4], argv + 4);
		return 1;
	}
	if (argc == 2 && strcmp(argv[1], "exit") == 0)
		return 0;
	if (argc == 2 && strcmp(argv[1], "threads") == 0)
		threads();
	if (argc == 2 && strcmp(argv[1], "memory") == 0)
		memory();
	if (argc == 3 && strcmp(argv[1], "echo") == 0) {
		puts(argv[2]);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "reply") == 0)
		return reply();
	if (argc == 4 && strcmp(argv[1], "post") == 0)
		return post_from(argv[2], argv[3]);
	if (argc == 3 && strcmp(argv[1], "chroots") == 0)
		return chroots(argv[2]);
	if (argc == 3 && strcmp(argv[1], "remove") == 0)
		return remove_directory(argv[2]) < 0;
	if (argc == 3 && strcmp(argv[1], "restart") == 0)
		return restart(argv[2]);
	if (argc == 2 && strcmp(argv[1], "owner") == 0)
		return owner();
	if (argc == 3 && strcmp(argv[1], "vectors") == 0)
		return vectors(argv[2]);
	if (argc == 3 && strcmp(argv[1], "mounts") == 0)
		return mounts(argv[2]);
	if (argc == 3 && strcmp(argv[1], "receive") == 0)
		receive(argv[2]);
	if (argc == 3 && strcmp(argv[1], "socket") == 0) {
		connect_socket(argv[2]);
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "write") == 0) {
		snprintf(base, sizeof(base), "%s", argv[2]);
		write_calls();
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "look") == 0) {
		look_calls(argv[2], argv[3]);
		return 0;
	}
	return 2;
}
