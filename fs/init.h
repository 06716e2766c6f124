/* init.h - process 1 of a container, beside the daemon.
 *
 * The kernel gives process 1 every orphan of its pid namespace (what an engine's exec or
 * a health check leaves behind) and takes from it the default action of signals.  The
 * daemon has threads and children of its own and waits for each by number; so another
 * process does what is process 1's to do: bury the dead, hand on signals, end as the
 * daemon ends.  When it is killed, so is everybody.
 */
#ifndef FS_INIT_H
#define FS_INIT_H

/* Fork, if this is process 1: *ret_status is -1 in the process that goes on with the
 * daemon, else the exit status of that one, which has ended.  Called before anything
 * is opened or started.  Logs. */
int init_split(int *ret_status);
#endif
