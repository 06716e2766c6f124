/* store.c - see store.h. */
#include "tests/fuzz/store.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/azure.h"
#include "backends/gcs.h"
#include "backends/s3.h"
#include "backends/util/clock.h"
#include "backends/util/log.h"
#include "backends/util/banned.h"

#define ORIGIN "http://127.0.0.1:9"
#define BYTES  "123456789"
#define KEY    "d/k"

enum { PAGES_MAX = 4, PIECE_MAX = 8 };

const struct store_kind store_s3 = {s3_open, "s3://b/p", "\"e\"", "id",
				    "\"p\" AAAAAAAAAAA="};
const struct store_kind store_azure = {azure_open, "az://acc/c/p", "\"0x1\"",
				       "00112233445566778899aabbccddeeff", "AAAA"};
/* The smallest objects that go by a session. */
static int open_session(const struct backend_conf *conf, struct backend **ret)
{
	int r = gcs_open(conf, ret);
	if (!r)
		gcs_set_one_request_max_for_test(*ret, 4);
	return r;
}

const struct store_kind store_gcs_session = {open_session, "gs://b/p", "1", NULL, NULL};
const struct store_kind store_gcs = {gcs_open, "gs://b/p", "1",
				     "00112233445566778899aabbccddeeff", "1 e3069283"};

static int source_fd = -1;

void store_start(void)
{
	static char *none[] = {NULL};
	environ = none;
	clock_pretend();
	log_use_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
	log_set_level(LOG_LEVEL_ERROR);
	source_fd = memfd_create("source", MFD_CLOEXEC);
	MUST(source_fd >= 0 && write(source_fd, BYTES, 9) == 9);
}

/* Of backend.h's list. */
static bool is_known(int r)
{
	static const int known[] = {
		ENOENT,	ENODEV, EACCES,	   EEXIST,  ESTALE,	ENXIO,
		EROFS,	EILSEQ, EFBIG,	   ENOSPC,  ENAMETOOLONG, ENOMEM,
		ENODATA, EINTR, EINVAL,	   EBUSY,   EOPNOTSUPP, ECOMM,
		EBADMSG, EREMOTEIO, ETIMEDOUT, EBADE,	EKEYEXPIRED,
	};
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (r == -known[i])
			return true;
	return !r;
}

static void check_object(const struct object *obj)
{
	MUST(memchr(obj->etag, '\0', sizeof obj->etag));
	MUST(memchr(obj->tag, '\0', sizeof obj->tag));
}

/* --- listings --- */

struct seen {
	unsigned n;
	char last[KEY_SIZE];
	size_t last_len;
	bool level;
};

static int on_entry(void *arg, const char *key, size_t len, const struct object *obj)
{
	struct seen *seen = arg;
	MUST(len && len < KEY_SIZE && !key[len]);
	MUST(len >= 2 && !memcmp(key, "d/", 2));
	MUST(obj || (seen->level && len > 2));
	size_t n = len < seen->last_len ? len : seen->last_len;
	int order = memcmp(seen->last, key, n);
	/* Each once, in order. */
	MUST(!seen->n || order < 0 || (!order && seen->last_len < len));
	memcpy(seen->last, key, len);
	seen->last_len = len;
	seen->n++;
	if (obj)
		check_object(obj);
	return 0;
}

static int run_list(struct backend *be, bool level)
{
	struct list_query q = {.prefix = "d/", .delim = level ? '/' : 0};
	char *token = NULL;
	int r = 0, pages = 0;
	do {
		struct seen seen = {.level = level};
		const char *before = token;
		r = be->ops->list(be, &q, &token, on_entry, &seen, NULL);
		MUST(!r || (!seen.n && token == before)); /* P10 */
	} while (!r && token && ++pages < PAGES_MAX);
	free(token);
	return r;
}

static int on_upload(void *arg, const char *key, const char *id, int64_t started_ns)
{
	(void)arg;
	(void)started_ns;
	MUST(!strncmp(key, "d/", 2) && *id);
	return 0;
}

/* --- the other operations --- */

static const struct put_opts opts = {
	.mtime_ns = 1, .tag = "0123456789abcdef0123456789abcdef"};

/* P2: what counts as done is an object of just that size, with a name for its version. */
static void check_made(int r, const struct object *obj)
{
	if (r)
		return;
	check_object(obj);
	MUST(obj->size == 9);
}

static int run_copy(struct backend *be, const struct store_kind *kind)
{
	struct object from = {.size = 9}, obj;
	(void)snprintf(from.etag, sizeof from.etag, "%s", kind->etag);
	int r = be->ops->copy(be, KEY, &from, "d/to", &opts, &obj, NULL);
	check_made(r, &obj);
	return r;
}

static struct part part_of(const struct store_kind *kind)
{
	struct part part = {.number = 1, .size = 9};
	(void)snprintf(part.receipt, sizeof part.receipt, "%s", kind->receipt);
	return part;
}

static int run_finish(struct backend *be, const struct store_kind *kind)
{
	struct part part = part_of(kind);
	struct object obj;
	int r = be->ops->upload_finish(be, KEY, kind->upload, &part, 1, 9, &opts, &obj,
				       NULL);
	check_made(r, &obj);
	return r;
}

static int run_begin(struct backend *be)
{
	char *id = NULL;
	int r = be->ops->upload_begin(be, KEY, 9, &opts, &id, NULL);
	MUST(r ? !id : id && *id);
	free(id);
	return r;
}

static int run_part(struct backend *be, const struct store_kind *kind)
{
	struct source src = {.fd = source_fd, .len = 9};
	struct part part = {.number = 1, .size = 9};
	int r = be->ops->upload_part(be, KEY, kind->upload, 0, &src, &part, NULL);
	MUST(r || (*part.receipt && memchr(part.receipt, '\0', sizeof part.receipt)));
	return r;
}

static int run_on_object(struct backend *be, const struct store_kind *kind,
			 enum store_op op)
{
	struct object obj;
	struct source src = {.fd = source_fd, .len = 9};
	struct cond cond = {.if_etag = kind->etag};
	int r;
	switch (op) {
	case STORE_HEAD:
		r = be->ops->head(be, KEY, &obj, NULL);
		if (!r)
			check_object(&obj);
		return r;
	case STORE_PUT:
		r = be->ops->put(be, KEY, &src, &opts, &obj, NULL);
		check_made(r, &obj);
		return r;
	case STORE_DEL:
		return be->ops->del(be, KEY, &cond, NULL);
	case STORE_COPY:
		return run_copy(be, kind);
	default:
		return be->ops->probe(be, true, NULL);
	}
}

static int run(struct backend *be, const struct store_kind *kind, enum store_op op)
{
	switch (op) {
	case STORE_LIST:
	case STORE_LIST_ALL:
		return run_list(be, op == STORE_LIST);
	case STORE_BEGIN:
		return run_begin(be);
	case STORE_PART:
		return run_part(be, kind);
	case STORE_FINISH:
		return run_finish(be, kind);
	case STORE_ABORT:
		return be->ops->upload_abort(be, KEY, kind->upload, NULL);
	case STORE_UPLOADS:
		return be->ops->upload_list
			       ? be->ops->upload_list(be, "d/", on_upload, NULL, NULL)
			       : 0;
	default:
		return run_on_object(be, kind, op);
	}
}

void store_run(const struct store_kind *kind, enum store_op op, struct input *in)
{
	struct backend_conf conf = {
		.url = kind->url, .endpoint = ORIGIN, .region = "r", .anonymous = true};
	struct backend *be;
	size_t piece = take_byte(in) % PIECE_MAX;
	MUST(!kind->open(&conf, &be));
	wire_load(in->p, in->n, piece);
	wire_bind(ORIGIN "/");
	MUST(is_known(run(be, kind, op)));
	be->ops->free(be);
}
