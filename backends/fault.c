/* fault.c - see fault.h.
 *
 * Calls are counted before anything else happens to them, for each operation and in
 * all ("any").  What an answer that was lost would have brought never reaches the
 * caller: no bytes, no entries, no object.
 */
#include "backends/fault.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

enum fault_op {
	OP_HEAD,
	OP_GET,
	OP_LIST,
	OP_PUT,
	OP_DEL,
	OP_COPY,
	OP_RENAME,
	OP_BEGIN,
	OP_PART,
	OP_FINISH,
	OP_ABORT,
	OP_ANY,
	OP_COUNT,
};

static const char *const op_names[OP_COUNT] = {
	"head",	  "get",   "list", "put",    "del",   "copy",
	"rename", "begin", "part", "finish", "abort", "any",
};

enum action { GO_ON, BEFORE, AFTER, SHORT, DELAY };

struct rule {
	enum fault_op op;
	uint64_t nth; /* 0 = every one */
	bool onwards; /* and all after it */
	enum action action;
	int error;	/* negative */
	uint64_t count; /* bytes (SHORT) or milliseconds (DELAY) */
};

enum { RULES_MAX = 32 };

struct fault {
	struct backend base;
	/* set once */
	struct backend_ops ops; /* only what the inner backend has */
	struct backend *inner;	/* owned */
	struct rule rules[RULES_MAX];
	size_t n_rules;

	/* atomic */
	_Atomic uint64_t count[OP_COUNT];
};

static struct fault *fault_of(struct backend *be)
{
	return (struct fault *)be;
}

/* The rule for this call, which is counted; a delay is waited for here. */
static struct rule next_rule(struct fault *f, enum fault_op op)
{
	uint64_t nth = atomic_fetch_add(&f->count[op], 1) + 1;
	uint64_t nth_any = atomic_fetch_add(&f->count[OP_ANY], 1) + 1;
	for (size_t i = 0; i < f->n_rules; i++) {
		const struct rule *rule = &f->rules[i];
		uint64_t n = rule->op == OP_ANY ? nth_any : nth;
		if (rule->op != op && rule->op != OP_ANY)
			continue;
		if (rule->nth && n != rule->nth && !(rule->onwards && n > rule->nth))
			continue;
		if (rule->action == DELAY)
			clock_sleep_ns(rule->count * NS_PER_MS);
		return *rule;
	}
	return (struct rule){.action = GO_ON};
}

/* What the caller gets of the inner backend's answer r. */
static int outcome(const struct rule *rule, int r)
{
	return rule->action == AFTER ? rule->error : r;
}

static int fault_probe(struct backend *be, bool writes, struct call *call)
{
	struct fault *f = fault_of(be);
	int r = backend_probe(f->inner, writes, call);
	be->caps = f->inner->caps;
	be->limits = f->inner->limits;
	return r;
}

static int fault_peek(struct backend *be, const char *key, struct object *ret,
		      struct first *first, struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_HEAD);
	struct object obj;
	if (rule.action == BEFORE)
		return rule.error;
	int r = backend_peek(fault_of(be)->inner, key, &obj, first, call);
	if (!r && rule.action != AFTER)
		*ret = obj;
	return outcome(&rule, r);
}

static int fault_head(struct backend *be, const char *key, struct object *ret,
		      struct call *call)
{
	return fault_peek(be, key, ret, NULL, call);
}

/* Lets the first `left` bytes through. */
struct cut {
	sink_fn *sink;
	void *arg;
	uint64_t left;
	int error; /* when nothing is left */
};

static int cut_sink(void *arg, uint64_t off, const void *bytes, size_t len)
{
	struct cut *cut = arg;
	size_t n = len < cut->left ? len : (size_t)cut->left;
	int r = n ? cut->sink(cut->arg, off, bytes, n) : 0;
	cut->left -= n;
	return r < 0 ? r : cut->left ? 0 : cut->error;
}

static int fault_get(struct backend *be, const char *key, const struct object *obj,
		     uint64_t off, uint64_t len, sink_fn *sink, void *arg,
		     struct call *call)
{
	struct fault *f = fault_of(be);
	struct rule rule = next_rule(f, OP_GET);
	struct cut cut = {.sink = sink, .arg = arg, .error = rule.error};
	switch (rule.action) {
	case BEFORE:
		return rule.error;
	case SHORT:
		cut.left = rule.count;
		/* fall through */
	case AFTER:
		return cut.left || rule.action == AFTER
			       ? backend_get(f->inner, key, obj, off, len, cut_sink, &cut,
					     call)
			       : rule.error;
	default:
		return backend_get(f->inner, key, obj, off, len, sink, arg, call);
	}
}

static int drop_entry(void *arg, const char *key, size_t key_len,
		      const struct object *obj)
{
	(void)arg;
	(void)key;
	(void)key_len;
	(void)obj;
	return 0;
}

static int fault_list(struct backend *be, const struct list_query *q, char **token,
		      list_fn *fn, void *arg, struct call *call)
{
	struct fault *f = fault_of(be);
	struct rule rule = next_rule(f, OP_LIST);
	if (rule.action == BEFORE)
		return rule.error;
	if (rule.action != AFTER)
		return backend_list(f->inner, q, token, fn, arg, call);
	CLEANUP_FREE char *next = *token ? strdup(*token) : NULL;
	(void)backend_list(f->inner, q, &next, drop_entry, NULL, call);
	return rule.error;
}

static int fault_put(struct backend *be, const char *key, const struct source *src,
		     const struct put_opts *opts, struct object *ret, struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_PUT);
	struct object obj;
	if (rule.action == BEFORE)
		return rule.error;
	int r = backend_put(fault_of(be)->inner, key, src, opts, &obj, call);
	if (!r && rule.action != AFTER)
		*ret = obj;
	return outcome(&rule, r);
}

static int fault_del(struct backend *be, const char *key, const struct cond *cond,
		     struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_DEL);
	if (rule.action == BEFORE)
		return rule.error;
	return outcome(&rule, backend_del(fault_of(be)->inner, key, cond, call));
}

static int fault_copy(struct backend *be, const char *from, const struct object *from_obj,
		      const char *to, const struct put_opts *opts, struct object *ret,
		      struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_COPY);
	struct object obj;
	if (rule.action == BEFORE)
		return rule.error;
	int r = backend_copy(fault_of(be)->inner, from, from_obj, to, opts, &obj, call);
	if (!r && rule.action != AFTER)
		*ret = obj;
	return outcome(&rule, r);
}

static int fault_rename(struct backend *be, const char *from, const char *to,
			struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_RENAME);
	if (rule.action == BEFORE)
		return rule.error;
	return outcome(&rule, backend_rename(fault_of(be)->inner, from, to, call));
}

static int fault_begin(struct backend *be, const char *key, uint64_t size,
		       const struct put_opts *opts, char **ret_id, struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_BEGIN);
	CLEANUP_FREE char *id = NULL;
	if (rule.action == BEFORE)
		return rule.error;
	int r = backend_upload_begin(fault_of(be)->inner, key, size, opts, &id, call);
	if (!r && rule.action != AFTER)
		*ret_id = STEAL(id);
	return outcome(&rule, r);
}

static int fault_part(struct backend *be, const char *key, const char *id,
		      uint64_t obj_off, const struct source *src, struct part *part,
		      struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_PART);
	struct part done = *part;
	if (rule.action == BEFORE)
		return rule.error;
	int r = backend_upload_part(fault_of(be)->inner, key, id, obj_off, src, &done,
				    call);
	if (!r && rule.action != AFTER)
		*part = done;
	return outcome(&rule, r);
}

static int fault_finish(struct backend *be, const char *key, const char *id,
			const struct part *parts, uint32_t n_parts, uint64_t size,
			const struct put_opts *opts, struct object *ret,
			struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_FINISH);
	struct object obj;
	if (rule.action == BEFORE)
		return rule.error;
	int r = backend_upload_finish(fault_of(be)->inner, key, id, parts, n_parts, size,
				      opts, &obj, call);
	if (!r && rule.action != AFTER)
		*ret = obj;
	return outcome(&rule, r);
}

static int fault_abort(struct backend *be, const char *key, const char *id,
		       struct call *call)
{
	struct rule rule = next_rule(fault_of(be), OP_ABORT);
	if (rule.action == BEFORE)
		return rule.error;
	return outcome(&rule, backend_upload_abort(fault_of(be)->inner, key, id, call));
}

static int fault_upload_list(struct backend *be, const char *prefix, upload_list_fn *fn,
			     void *arg, struct call *call)
{
	return backend_upload_list(fault_of(be)->inner, prefix, fn, arg, call);
}

static int fault_origin(struct backend *be, const char *key, const struct object *obj,
			struct buf *ret)
{
	return backend_origin(fault_of(be)->inner, key, obj, ret);
}

static int fault_check(struct backend *be, const char *key, const struct object *obj,
		       struct call *call)
{
	return backend_check(fault_of(be)->inner, key, obj, call);
}

static bool fault_hides(struct backend *be, const char *key)
{
	return backend_hides(fault_of(be)->inner, key);
}

static void fault_free(struct backend *be)
{
	struct fault *f = fault_of(be);
	backend_free(f->inner);
	free(be->name);
	free(f);
}

static struct backend_ops ops_around(const struct backend_ops *inner)
{
	return (struct backend_ops){
		.scheme = inner->scheme,
		.free = fault_free,
		.probe = fault_probe,
		.head = fault_head,
		.peek = inner->peek ? fault_peek : NULL,
		.get = fault_get,
		.list = fault_list,
		.put = inner->put ? fault_put : NULL,
		.del = inner->del ? fault_del : NULL,
		.copy = inner->copy ? fault_copy : NULL,
		.rename = inner->rename ? fault_rename : NULL,
		.upload_begin = inner->upload_begin ? fault_begin : NULL,
		.upload_part = inner->upload_part ? fault_part : NULL,
		.upload_finish = inner->upload_finish ? fault_finish : NULL,
		.upload_abort = inner->upload_abort ? fault_abort : NULL,
		.upload_list = inner->upload_list ? fault_upload_list : NULL,
		.origin = fault_origin,
		.check = inner->check ? fault_check : NULL,
		.hides = inner->hides ? fault_hides : NULL,
	};
}

static enum fault_op find_op(const char *name, size_t len)
{
	for (int op = 0; op < OP_COUNT; op++)
		if (strlen(op_names[op]) == len && !memcmp(op_names[op], name, len))
			return (enum fault_op)op;
	return OP_COUNT;
}

/* Negative; 0: not a name. */
static int find_errno(const char *name, size_t len)
{
	static const struct {
		const char *name;
		int error;
	} errors[] = {
		{"ECOMM", -ECOMM},
		{"ETIMEDOUT", -ETIMEDOUT},
		{"EBUSY", -EBUSY},
		{"EREMOTEIO", -EREMOTEIO},
		{"EACCES", -EACCES},
		{"EBADMSG", -EBADMSG},
		{"ESTALE", -ESTALE},
		{"ENOENT", -ENOENT},
		{"ENOSPC", -ENOSPC},
		{"EIO", -EIO},
		{"ENOMEM", -ENOMEM},
		{"EOPNOTSUPP", -EOPNOTSUPP},
		{"EKEYEXPIRED", -EKEYEXPIRED},
	};
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (strlen(errors[i].name) == len && !memcmp(errors[i].name, name, len))
			return errors[i].error;
	return 0;
}

/* Skips the word at *s and what ends it. */
static bool take(const char **s, const char *word)
{
	size_t n = strlen(word);
	if (strncmp(*s, word, n) != 0)
		return false;
	*s += n;
	return true;
}

static bool take_number(const char **s, uint64_t *ret)
{
	char *end;
	if (**s < '0' || **s > '9')
		return false;
	errno = 0;
	*ret = strtoull(*s, &end, 10);
	*s = end;
	return !errno && *ret <= UINT32_MAX;
}

static bool parse_nth(const char **s, struct rule *rule)
{
	if (take(s, "*"))
		return true;
	if (!take_number(s, &rule->nth) || !rule->nth)
		return false;
	rule->onwards = take(s, "+");
	return true;
}

static bool parse_action(const char **s, struct rule *rule)
{
	if (take(s, "delay=")) {
		rule->action = DELAY;
		return take_number(s, &rule->count);
	}
	if (take(s, "before="))
		rule->action = BEFORE;
	else if (take(s, "after="))
		rule->action = AFTER;
	else if (rule->op == OP_GET && take(s, "short=") &&
		 take_number(s, &rule->count) && take(s, "="))
		rule->action = SHORT;
	else
		return false;
	size_t n = strcspn(*s, ";");
	rule->error = find_errno(*s, n);
	*s += n;
	return rule->error != 0;
}

static int parse(struct fault *f, const char *s)
{
	while (*s) {
		if (f->n_rules == RULES_MAX)
			return -EINVAL;
		struct rule *rule = &f->rules[f->n_rules++];
		size_t n = strcspn(s, ":;");
		rule->op = find_op(s, n);
		s += n;
		if (rule->op == OP_COUNT || !take(&s, ":") || !parse_nth(&s, rule) ||
		    !take(&s, ":") || !parse_action(&s, rule))
			return -EINVAL;
		if (*s && !take(&s, ";"))
			return -EINVAL;
	}
	return 0;
}

int fault_new(struct backend *inner, const char *script, struct backend **ret)
{
	struct fault *f = calloc(1, sizeof *f);
	int r = f ? parse(f, script) : -ENOMEM;
	if (!r && !(f->base.name = strdup(inner->name)))
		r = -ENOMEM;
	if (r < 0) {
		free(f);
		backend_free(inner);
		return r;
	}
	f->inner = inner;
	f->ops = ops_around(inner->ops);
	f->base.ops = &f->ops;
	f->base.caps = inner->caps;
	f->base.limits = inner->limits;
	*ret = &f->base;
	return 0;
}

uint64_t fault_count(const struct backend *be, const char *op)
{
	const struct fault *f = (const struct fault *)be;
	enum fault_op found = find_op(op, strlen(op));
	return found == OP_COUNT ? 0 : atomic_load(&f->count[found]);
}
