/* Measures two commands from start to end. They run in turns, so that other work on the machine
 * affects both alike.
 *
 * starts ROUNDS COMMAND… -- COMMAND… prints the median of each in milliseconds, and the median of
 * the ratios of neighbours. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

/* Returns milliseconds; ends this program if the command fails. */
static double run(char **command)
{
	double start = now();
	pid_t pid;
	int status;
	if (posix_spawnp(&pid, command[0], 0, 0, command, environ) || waitpid(pid, &status, 0) < 0 || status) {
		fprintf(stderr, "'%s' failed\n", command[0]);
		exit(1);
	}
	return now() - start;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;
	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, count, sizeof *values, compare);
	return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 0;
	char **second = argv + 2;
	while (argc > 2 && *second && strcmp(*second, "--"))
		second++;
	if (rounds < 1 || argc < 5 || !*second || !second[1]) {
		fprintf(stderr, "usage: starts ROUNDS COMMAND... -- COMMAND...\n");
		return 2;
	}
	*second++ = 0;
	double *times = calloc(3 * rounds, sizeof *times), *others = times + rounds, *ratios = others + rounds;
	if (!times)
		return 1;
	for (int i = -3; i < rounds; i++) {
		double first = run(argv + 2), other = run(second);
		if (i < 0) /* The first runs bring everything into memory. */
			continue;
		times[i] = first;
		others[i] = other;
		ratios[i] = first / other;
	}
	printf("%.2f %.2f %.2f\n", median(times, rounds), median(others, rounds), median(ratios, rounds));
	return 0;
}
