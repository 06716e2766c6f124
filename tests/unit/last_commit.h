/* last_commit.h - the daemon dies, or its journal fails, at a commit of one's choice.
 *
 * Link with --wrap=journal_commit.  Commits are counted unless fate is GOES_ON, and fate
 * is what becomes of the one with which commits_left comes to 0.
 */
#ifndef TESTS_UNIT_LAST_COMMIT_H
#define TESTS_UNIT_LAST_COMMIT_H
#include <stdatomic.h>

/* LIES: it fails, and the next mount finds it all the same. */
enum fate { GOES_ON, DIES_AFTER, FAILS, LIES };

extern enum fate fate;
extern atomic_int commits_left;
#endif
