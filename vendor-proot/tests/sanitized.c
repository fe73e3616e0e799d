/* Memory of each kind, and calls that are answered in the guest, translated, or refused: built with a
 * sanitizer, whose own mappings must not be in the way. Prints "done". With an argument it loses
 * memory. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void *work(void *directory)
{
	struct stat status;
	char *memory = malloc(100000);
	int i, fd;

	for (i = 0; i < 20; i++) {
		if (stat("/bin/busybox", &status) < 0 || mkdir(directory, 0755) < 0 || rmdir(directory) < 0)
			perror("work");
		fd = open("/tmp/sanitized", O_CREAT | O_WRONLY, 0644);
		if (fd < 0 || write(fd, memory, 0) < 0 || close(fd) < 0)
			perror("open");
	}
	free(memory);
	return NULL;
}

static char *volatile kept;

int main(int argc, char *argv[])
{
	static char memory[100000];
	pthread_t thread;

	work("/tmp/sanitized-1");
	if (pthread_create(&thread, NULL, work, "/tmp/sanitized-2") || pthread_join(thread, NULL))
		perror("pthread_create");
	kept = malloc(100);
	if (argc > 1)
		kept = argv[1];
	unlink("/tmp/sanitized");
	puts(memory[99] ? "not done" : "done");
	return 0;
}
