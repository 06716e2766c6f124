/* io.h - all of a piece of a file, or an error; and that its name is on the disk. */
#ifndef BACKENDS_UTIL_IO_H
#define BACKENDS_UTIL_IO_H
#include <stddef.h>
#include <stdint.h>

/* -EIO if the file ends before; else as pread and pwrite. */
int io_read_all(int fd, void *dst, size_t len, uint64_t off);
int io_write_all(int fd, const void *src, size_t len, uint64_t off);
/* The names in this directory are durable: fsync, where the file system has it for
 * directories. */
int io_sync_names(int dir);
int io_sync_directory(const char *path);
#endif
