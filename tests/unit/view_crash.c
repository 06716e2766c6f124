/* view_crash.c - see view_crash.h. */
#include "tests/unit/view_crash.h"
#include <sys/wait.h>
#include <unistd.h>
#include "backends/fault.h"
#include "backends/util/banned.h"

void crash_init(struct crash *c)
{
	*c = (struct crash){0};
	backend_free(scratch_backend(&c->s));
	vrig_init_dir(&c->rig, NULL);
	c->rig.conf.wait_uploads = false;
}

void crash_mount(struct crash *c, const char *script)
{
	struct backend_conf conf = {.url = c->s.url};
	struct backend *inner;
	CHECK_EQ(local_open(&conf, &inner), 0);
	CHECK_EQ(backend_probe(inner, true, NULL), 0);
	CHECK_EQ(fault_new(inner, script, &c->be), 0);
	CHECK_EQ(local_open(&conf, &c->plain), 0);
	CHECK_EQ(backend_probe(c->plain, true, NULL), 0);
	/* fault_new counts and misbehaves; caps and limits are the inner one's. */
	c->rig.be = c->be;
	vrig_open(&c->rig);
}

void crash_umount(struct crash *c)
{
	vrig_close(&c->rig);
	backend_free(c->be);
	backend_free(c->plain);
}

void crash_done(struct crash *c)
{
	crash_umount(c);
	scratch_done(&c->s);
	struct vrig empty = {.be = NULL};
	(void)snprintf(empty.dir, sizeof(empty.dir), "%s", c->rig.dir);
	char command[128];
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", empty.dir);
	CHECK_EQ(system(command), 0);
}

void crash_in(struct crash *c, const char *script, void (*work)(struct vrig *rig))
{
	(void)fflush(stdout);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		crash_mount(c, script);
		work(&c->rig);
		_exit(0);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

bool crash_has(struct crash *c, const char *key, const char *text)
{
	struct object obj;
	struct bowl bowl;
	int r = backend_head(c->plain, key, &obj, NULL);
	if (r)
		return !text;
	if (!text || obj.size != strlen(text))
		return false;
	bowl = (struct bowl){.len = 0};
	r = obj.size ? backend_get(c->plain, key, &obj, 0, obj.size, bowl_sink, &bowl,
				   NULL)
		     : 0;
	return !r && !memcmp(bowl.data, text, obj.size);
}

void crash_drain(struct crash *c)
{
	CHECK_EQ(view_drain(c->rig.vw, clock_now_ns() + 10 * NS_PER_S), 0);
}

void crash_write_each(struct vrig *rig)
{
	struct staged *local = vrig_create(rig, "a.part");
	CHECK_EQ(staged_write(local, "local", 5, 0), 5);
	struct staged *open = vrig_create(rig, "open");
	vrig_put(open, "unsynced");
	struct staged *synced = vrig_create(rig, "synced");
	vrig_put(synced, "synced");
	CHECK_EQ(staged_sync(synced), 0);
	CHECK_EQ(staged_write(synced, "more", 4, 6), 4);
	CHECK_EQ(vrig_write(rig, "sealed", "sealed"), 0);
	CHECK_EQ(view_mkdir(rig->vw, "d/.download_state", NULL), 0);
}
