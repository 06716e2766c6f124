/* nth_sqlite.c - SQLite's memory and SQLite's files, that fail when nth.c says so. */
#include <sqlite3.h>
#include <string.h>
#include "tests/unit/check.h"
#include "tests/unit/nth.h"
#include "backends/util/banned.h"

/* --- memory --- */

static sqlite3_mem_methods real_memory;

static void *failing_malloc(int n)
{
	return nth_point(NTH_SQLMEM) ? NULL : real_memory.xMalloc(n);
}

static void *failing_realloc(void *p, int n)
{
	return nth_point(NTH_SQLMEM) ? NULL : real_memory.xRealloc(p, n);
}

/* --- files --- */

static sqlite3_vfs *real_vfs, failing_vfs;
static sqlite3_io_methods methods;

struct file {
	sqlite3_file base;  /* first */
	sqlite3_file *real; /* lies behind it */
};

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct file *)f)->real;
}

/* What a call answers: does, if it is to be done, and the code of `io` or what is to
 * fail.  A full disk fails what makes a file longer and nothing else. */
#define CALL(does, io, grows)                                                  \
	do {                                                                   \
		bool after_;                                                   \
		int code_ = nth_vfs_error(&after_);                            \
		if ((code_ == SQLITE_FULL && !(grows)) || !nth_point(NTH_VFS)) \
			return does;                                           \
		if (after_)                                                    \
			(void)(does);                                          \
		return code_ == SQLITE_IOERR ? (io) : code_;                   \
	} while (0)

static int f_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int f_read(sqlite3_file *f, void *to, int n, sqlite3_int64 off)
{
	CALL(real_of(f)->pMethods->xRead(real_of(f), to, n, off), SQLITE_IOERR_READ,
	     false);
}

static int f_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 off)
{
	CALL(real_of(f)->pMethods->xWrite(real_of(f), from, n, off), SQLITE_IOERR_WRITE,
	     true);
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	CALL(real_of(f)->pMethods->xTruncate(real_of(f), size), SQLITE_IOERR_TRUNCATE,
	     false);
}

static int f_sync(sqlite3_file *f, int flags)
{
	CALL(real_of(f)->pMethods->xSync(real_of(f), flags), SQLITE_IOERR_FSYNC, true);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	CALL(real_of(f)->pMethods->xFileSize(real_of(f), ret), SQLITE_IOERR_FSTAT, false);
}

static int f_lock(sqlite3_file *f, int level)
{
	CALL(real_of(f)->pMethods->xLock(real_of(f), level), SQLITE_IOERR_LOCK, false);
}

static int f_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int f_check_lock(sqlite3_file *f, int *ret)
{
	CALL(real_of(f)->pMethods->xCheckReservedLock(real_of(f), ret),
	     SQLITE_IOERR_CHECKRESERVEDLOCK, false);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int f_device(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
	CALL(real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, ret),
	     SQLITE_IOERR_SHMMAP, true);
}

static int f_shm_lock(sqlite3_file *f, int off, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), off, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int f_shm_unmap(sqlite3_file *f, int delete)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), delete);
}

static sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = f_close,
	.xRead = f_read,
	.xWrite = f_write,
	.xTruncate = f_truncate,
	.xSync = f_sync,
	.xFileSize = f_size,
	.xLock = f_lock,
	.xUnlock = f_unlock,
	.xCheckReservedLock = f_check_lock,
	.xFileControl = f_control,
	.xSectorSize = f_sector,
	.xDeviceCharacteristics = f_device,
	.xShmMap = f_shm_map,
	.xShmLock = f_shm_lock,
	.xShmBarrier = f_shm_barrier,
	.xShmUnmap = f_shm_unmap,
};

static int do_open(const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct file *file = (struct file *)f;
	file->real = (sqlite3_file *)(file + 1);
	int rc = real_vfs->xOpen(real_vfs, name, file->real, flags, ret_flags);
	/* SQLite closes what has methods, whatever is returned. */
	file->base.pMethods = file->real->pMethods ? &methods : NULL;
	return rc;
}

static int v_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
		  int *ret_flags)
{
	(void)vfs;
	f->pMethods = NULL;
	CALL(do_open(name, f, flags, ret_flags), SQLITE_CANTOPEN, true);
}

static int v_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	(void)vfs;
	CALL(real_vfs->xDelete(real_vfs, name, sync), SQLITE_IOERR_DELETE, false);
}

static int v_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs;
	CALL(real_vfs->xAccess(real_vfs, name, flags, ret), SQLITE_IOERR_ACCESS, false);
}

static int v_path(sqlite3_vfs *vfs, const char *name, int n, char *ret)
{
	(void)vfs;
	return real_vfs->xFullPathname(real_vfs, name, n, ret);
}

void nth_sqlite_start(void)
{
	CHECK_EQ(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
	sqlite3_mem_methods memory = real_memory;
	memory.xMalloc = failing_malloc;
	memory.xRealloc = failing_realloc;
	CHECK_EQ(sqlite3_config(SQLITE_CONFIG_MALLOC, &memory), SQLITE_OK);
	CHECK_EQ(sqlite3_initialize(), SQLITE_OK);

	real_vfs = sqlite3_vfs_find(NULL);
	CHECK(real_vfs);
	failing_vfs = *real_vfs;
	failing_vfs.zName = "nth";
	failing_vfs.pNext = NULL;
	failing_vfs.szOsFile = (int)sizeof(struct file) + real_vfs->szOsFile;
	failing_vfs.xOpen = v_open;
	failing_vfs.xDelete = v_delete;
	failing_vfs.xAccess = v_access;
	failing_vfs.xFullPathname = v_path;
	CHECK_EQ(sqlite3_vfs_register(&failing_vfs, 1), SQLITE_OK);
}
