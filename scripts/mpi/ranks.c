/* Adds up the ranks a hundred times; the first rank prints how many there are, the sum, and whether it
 * runs inside a container, which has no slurmd. */
#include <mpi.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int rank, size, sum, i;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	for (i = 0; i < 100; i++)
		MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	if (rank == 0)
		printf("%d ranks, sum %d, %s\n", size, sum, access("/usr/sbin/slurmd", F_OK) ? "inside" : "outside");
	MPI_Finalize();
	return 0;
}
