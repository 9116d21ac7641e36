/*
 * Runs a fuzz target over files, or over each file of a directory: the corpus as a test where there
 * is no libFuzzer. usage: <target> PATH...
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 24 };

static int
replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	size_t n;

	if (!f) {
		perror(path);
		return -1;
	}
	data = malloc(INPUT_MAX);
	n = data ? fread(data, 1, INPUT_MAX, f) : 0;
	fclose(f);
	if (data) {
		uint8_t *exact = malloc(n ? n : 1); /* so that ASan sees the first byte too many */

		if (exact) {
			memcpy(exact, data, n);
			LLVMFuzzerTestOneInput(exact, n);
		}
		free(exact);
	}
	free(data);
	return 1;
}

static int
replay_dir(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *e;
	int total = 0, n = 0;

	if (!dir) {
		perror(path);
		return -1;
	}
	while (n >= 0 && (e = readdir(dir))) {
		char file[4096];

		if (e->d_name[0] == '.')
			continue;
		snprintf(file, sizeof file, "%s/%s", path, e->d_name);
		n = replay_file(file);
		total += n;
	}
	closedir(dir);
	return n < 0 ? -1 : total;
}

int
main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;
		int n = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? replay_dir(argv[i]) : replay_file(argv[i]);

		if (n < 0)
			return EXIT_FAILURE;
		total += n;
	}
	printf("%d inputs\n", total);
	return total ? EXIT_SUCCESS : EXIT_FAILURE;
}
