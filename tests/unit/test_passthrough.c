/* test_passthrough.c - what is agreed with the kernel about files that it reads itself:
 * a session over a socket, whose other end plays the kernel. */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/fuse.h>
#include "fs/fs_impl.h"
#include "fs/passthrough.h"
#include "tests/unit/check.h"
#include "backends/util/banned.h"

enum { OFFER = 1 << 5 }; /* bit 37 of INIT's flags, in the second word */

struct wire {
	struct fs fs;
	struct fuse_session *se;
	int kernel;
	struct fuse_init_out agreed;
};

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	passthrough_ask(((struct fs *)userdata)->passthrough, conn);
}

static void connect_wire(struct wire *w, bool wanted)
{
	static const struct fuse_lowlevel_ops ops = {.init = on_init};
	char *argv[] = {(char[]){"test"}, NULL}, at[32];
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	int ends[2];
	*w = (struct wire){0};
	CHECK_EQ(passthrough_new(wanted, "/proc", &w->fs.passthrough), 0);
	w->se = fuse_session_new(&args, &ops, sizeof ops, &w->fs);
	CHECK(w->se);
	fuse_opt_free_args(&args);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	w->kernel = ends[1];
	(void)snprintf(at, sizeof at, "/dev/fd/%d", ends[0]);
	CHECK_EQ(fuse_session_mount(w->se, at), 0);
	CHECK_EQ(passthrough_attach(w->fs.passthrough, w->se), 0);
}

static void answer_one(struct wire *w)
{
	struct fuse_buf buf = {0};
	CHECK(fuse_session_receive_buf(w->se, &buf) > 0);
	fuse_session_process_buf(w->se, &buf);
	free(buf.mem);
}

static void shake_hands(struct wire *w, uint32_t offered)
{
	struct {
		struct fuse_in_header head;
		struct fuse_init_in in;
	} ask = {
		.head = {.len = sizeof ask, .opcode = FUSE_INIT, .unique = 42},
		.in = {.major = 7,
		       .minor = 40,
		       .max_readahead = 131072,
		       .flags = FUSE_INIT_EXT | FUSE_ASYNC_READ | FUSE_MAX_PAGES |
				 FUSE_PARALLEL_DIROPS,
		       .flags2 = offered},
	};
	struct {
		struct fuse_out_header head;
		struct fuse_init_out out;
	} reply;
	CHECK_EQ(write(w->kernel, &ask, sizeof ask), sizeof ask);
	answer_one(w);
	CHECK_EQ(read(w->kernel, &reply, sizeof reply), sizeof reply);
	CHECK_EQ(reply.head.unique, 42);
	CHECK_EQ(reply.head.error, 0);
	w->agreed = reply.out;
}

static uint32_t agreed_depth(const struct wire *w)
{
	uint32_t depth;
	memcpy(&depth, (const char *)&w->agreed + 36, sizeof depth);
	return depth;
}

static void hang_up(struct wire *w)
{
	passthrough_detach(w->fs.passthrough);
	CHECK(!passthrough_is_on(w->fs.passthrough));
	fuse_session_destroy(w->se);
	passthrough_free(w->fs.passthrough);
	CHECK_EQ(close(w->kernel), 0);
}

static void passthrough__it_is_agreed_on_if_the_kernel_offers_it(void)
{
	struct wire w;
	connect_wire(&w, true);
	CHECK(!passthrough_is_on(w.fs.passthrough));
	shake_hands(&w, OFFER);
	CHECK(passthrough_is_on(w.fs.passthrough));
	CHECK_EQ(w.agreed.flags2 & OFFER, OFFER);
	CHECK_EQ(agreed_depth(&w), 1); /* "/proc" is no overlayfs */
	/* The rest of the answer is libfuse's. */
	CHECK_EQ(w.agreed.major, 7);
	CHECK(w.agreed.flags & FUSE_ASYNC_READ);
	hang_up(&w);
}

static void passthrough__it_is_off_if_one_does_not_want_it(void)
{
	struct wire w;
	connect_wire(&w, true);
	shake_hands(&w, 0);
	CHECK_EQ(w.agreed.flags2 & OFFER, 0);
	/* Whether or not: lookups of one directory may come at once. */
	CHECK(w.agreed.flags & FUSE_PARALLEL_DIROPS);
	CHECK(!passthrough_is_on(w.fs.passthrough));
	CHECK_EQ(passthrough_open(w.fs.passthrough, 0), -ENOTCONN);
	hang_up(&w);
	connect_wire(&w, false);
	shake_hands(&w, OFFER);
	CHECK_EQ(w.agreed.flags2 & OFFER, 0);
	CHECK(!passthrough_is_on(w.fs.passthrough));
	hang_up(&w);
}

/* As without CAP_SYS_ADMIN, only that a socket refuses with another errno. */
static void passthrough__a_refusal_turns_it_off(void)
{
	struct wire w;
	connect_wire(&w, true);
	shake_hands(&w, OFFER);
	CHECK_EQ(passthrough_open(w.fs.passthrough, w.kernel), -ENOTTY);
	CHECK(!passthrough_is_on(w.fs.passthrough));
	CHECK_EQ(passthrough_open(w.fs.passthrough, w.kernel), -ENOTCONN);
	passthrough_close(w.fs.passthrough, 1);
	hang_up(&w);
}

int main(void)
{
	RUN(passthrough__it_is_agreed_on_if_the_kernel_offers_it);
	RUN(passthrough__it_is_off_if_one_does_not_want_it);
	RUN(passthrough__a_refusal_turns_it_off);
	return 0;
}
