/* replay.c - feeds files, and the files of directories, to a fuzz target, each once: how
 * corpus and regressions run in trees without libFuzzer.  A target that never failed has
 * no directory of regressions. */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include "tests/fuzz/fuzz.h"
#include "backends/util/banned.h"

static unsigned fed;

static int feed_file(const char *path)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	if (!f || fstat(fileno(f), &st) < 0) {
		(void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	size_t n = (size_t)st.st_size;
	/* Of its own size, so that a sanitizer sees a read past it. */
	uint8_t *bytes = malloc(n ? n : 1);
	MUST(bytes && fread(bytes, 1, n, f) == n);
	(void)fclose(f);
	(void)fprintf(stderr, "%s\n", path); /* the last one is the one that failed */
	(void)LLVMFuzzerTestOneInput(bytes, n);
	free(bytes);
	fed++;
	return 0;
}

static int feed(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : feed_file(path);
	int failed = 0;
	for (struct dirent *e; (e = readdir(d));) {
		char inner[4096];
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
		failed |= feed(inner);
	}
	(void)closedir(d);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;
	(void)LLVMFuzzerInitialize(&argc, &argv);
	/* The empty input is in no directory. */
	(void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		failed |= feed(argv[i]);
	(void)printf("ok %u inputs\n", fed);
	return failed || !fed;
}
