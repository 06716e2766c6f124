/* nth.h - fail the n-th call, for every n: once, and "sticky" (all from it on).
 *
 * What can fail:
 *   malloc    what our objects ask of libc that needs memory or a thread (wrapped by
 *             the linker, see nth_wrapped in meson.build; the libraries' own calls and
 *             the test's own are not)
 *   sqlmem    SQLite's allocator
 *   vfs-*     a call of SQLite to its files: fails with SQLITE_IOERR_*, SQLITE_FULL,
 *             SQLITE_NOMEM, or is done and then fails ("after")
 *   backend-* a call of the bucket, by fault.c
 *
 * A scenario is a function that ends the program (CHECK) when something is wrong.  It
 * runs in a process of its own for each n, so that a crash, an assertion, a leak (with
 * the address sanitizer) or a deadlock is the n-th's and the next n goes on.  Without
 * MASTFS_EVERY a sample of all n is run, MASTFS_EVERY=1 is all of them.
 * MASTFS_NTH=scenario:kind:once:n runs that one only, in this process; without the last
 * words, all that begin so.
 */
#ifndef TESTS_UNIT_NTH_H
#define TESTS_UNIT_NTH_H
#include <stdbool.h>
#include <stdint.h>
#include "backends/backend.h"

enum nth_fails { NTH_MALLOC, NTH_SQLMEM, NTH_VFS, NTH_BACKEND };

/* Everything that nth_sweep can fail, a bit each. */
enum nth_kinds {
	NTH_KIND_MALLOC = 1 << NTH_MALLOC,
	NTH_KIND_SQLMEM = 1 << NTH_SQLMEM,
	NTH_KIND_VFS = 1 << NTH_VFS,
	NTH_KIND_BACKEND = 1 << NTH_BACKEND,
};

/* Before anything else of a program; programs that do not use SQLite do without
 * nth_sqlite_start. */
void nth_start(int argc, char **argv);
void nth_sqlite_start(void);
/* How the program ends: 0 if every run of every sweep was well. */
int nth_end(void);

/* Runs scenario for the n-th of each kind in kinds (enum nth_kinds).  At least floor
 * calls must be reached in a run without a failure, or the sweep proves nothing. */
void nth_sweep(const char *name, uint32_t kinds, uint64_t floor, void (*scenario)(void));

/* --- for scenarios --- */

/* Calls are counted, and fail, between these two. */
void nth_arm(void);
void nth_disarm(void);
/* be, or where the bucket is to fail a wrapper around it; what it calls is counted
 * whether armed or not.  backend_free of it is due before be goes. */
struct backend *nth_backend(struct backend *be);
/* 0, or what an operation may fail with (else the scenario ends); counted. */
int nth_step(int r);
/* Was a call failed in this run? */
bool nth_was_hit(void);
/* Are answers of the bucket lost after it has done what was asked? */
bool nth_loses_answers(void);
/* All calls from the n-th on fail until nth_disarm. */
bool nth_is_sticky(void);

/* --- for what fails --- */
bool nth_point(enum nth_fails what);
/* SQLITE_NOMEM, SQLITE_FULL or SQLITE_IOERR; *ret_after: do it first. */
int nth_vfs_error(bool *ret_after);
#endif
