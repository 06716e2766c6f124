/* control.h - the socket by which a daemon is asked, on both of its ends.
 *
 * A Unix stream socket, 0600, in the directory of rundir.h.  One question a connection,
 * a line of words; the answer is "ok" or "no", a space, and text up to the end:
 *
 *   status         ok {"state":"serving",...}     see status.h
 *   log            ok info                        the level
 *   log debug      ok debug                       and it is so from now on
 *   anything else  no unknown question
 *
 * Only the user whose daemon it is and root are heard.  The answers come from memory:
 * no lock is waited for that is held long, and no network.
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H
#include "fs/mountinfo.h"
#include "fs/server.h"

/* --- the daemon --- */

struct control;
struct control_conf {
	struct mount_entry mount; /* names the socket */
	/* A question's answer, without the "ok "; negative errno: unknown. */
	int (*answer)(void *arg, const char *question, struct buf *ret);
	void *arg;
};

/* Takes the place of a socket whose daemon is dead, and of nothing else.  *ret_door is
 * for a server, which must end before control_free.  -EADDRINUSE, or why none of the
 * places can be used; not logged. */
int control_new(const struct control_conf *conf, struct control **ret,
		struct server_door *ret_door);
/* The mount is about to go: the name becomes free for the next one. */
void control_draining(struct control *c);
/* NULL is fine. */
void control_free(struct control *c);

/* --- who asks --- */

/* Ask the daemon of a mount that uid made.  0: the answer is appended to ret.
 * -ENOENT: no socket, the daemon is elsewhere (in another container) or dead;
 * -ECONNREFUSED: dead; -EACCES: of another user; -ETIMEDOUT: does not answer;
 * -EOPNOTSUPP: it does not know the question; -EPROTO: that was no answer. */
int control_ask(const struct mount_entry *mount, uint32_t uid, const char *question,
		struct buf *ret);
/* The same of each socket of the user's own, of whatever mount: name is the socket's.
 * r and answer as control_ask has them. */
void control_ask_all(const char *question,
		     void (*fn)(void *arg, const char *name, int r, struct buf *answer),
		     void *arg);
#endif
