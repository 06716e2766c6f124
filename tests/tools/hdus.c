/* hdus.c - where the daemon thinks that the HDUs of a file lie.
 *
 *   hdus FILE...      name, then a line for each HDU: header, data, end; "none"
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cache/scan.h"

static int show(const char *path)
{
	struct layout l;
	struct stat sb;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &sb))
		return 1;
	layout_init(&l, (uint64_t)sb.st_size);
	int r = scan_file(fd, &l);
	(void)close(fd);
	(void)printf("%s\n", path);
	for (size_t i = 0; i < l.n; i++)
		(void)printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
			     l.hdus[i].header_off, l.hdus[i].data_off, l.hdus[i].end);
	if (l.none)
		(void)printf("none\n");
	layout_done(&l);
	return r != 0;
}

int main(int argc, char **argv)
{
	int r = 0;
	for (int i = 1; i < argc; i++)
		r |= show(argv[i]);
	return r;
}
