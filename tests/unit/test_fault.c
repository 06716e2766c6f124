/* test_fault.c - scripts mean what fault.h says. */
#include <errno.h>
#include "backends/fault.h"
#include "tests/unit/scratch.h"

static void fault__refuses_what_is_no_script(void)
{
	static const char *const bad[] = {"get",
					  "get:1",
					  "get:0:before=ECOMM",
					  "frob:1:before=ECOMM",
					  "get:1:before=ENOTHING",
					  "get:1:sometimes",
					  "put:1:short=3=ECOMM",
					  "get:x:delay=1",
					  "get:1:delay=",
					  "get:1:short=3",
					  "get:1:before=ECOMM,",
					  ":",
					  "get:99999999999999999999:delay=1"};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct scratch s;
		struct backend *f, *be = scratch_backend(&s);
		CHECK_EQ(fault_new(be, bad[i], &f), -EINVAL);
		scratch_done(&s);
	}
}

static void fault__counts_and_picks_calls(void)
{
	struct scratch s;
	struct object obj;
	struct backend *f;
	CHECK_EQ(fault_new(scratch_backend(&s),
			   "head:2:before=EBUSY;head:4+:before=EACCES;"
			   "put:1:after=ECOMM;",
			   &f),
		 0);
	CHECK_EQ(scratch_put(f, "k", "text", NULL, NULL), -ECOMM);
	CHECK_EQ(backend_head(f, "k", &obj, NULL), 0); /* it was done */
	CHECK_EQ(backend_head(f, "k", &obj, NULL), -EBUSY);
	CHECK_EQ(backend_head(f, "k", &obj, NULL), 0);
	CHECK_EQ(backend_head(f, "k", &obj, NULL), -EACCES);
	CHECK_EQ(backend_head(f, "k", &obj, NULL), -EACCES);
	CHECK_EQ(fault_count(f, "head"), 5);
	CHECK_EQ(fault_count(f, "put"), 1);
	CHECK_EQ(fault_count(f, "any"), 6);
	CHECK_EQ(fault_count(f, "nothing"), 0);
	backend_free(f);
	scratch_done(&s);
}

static void fault__cuts_a_get_short(void)
{
	static const struct {
		const char *script, *got;
		int r;
	} cases[] = {
		{"get:*:short=3=ECOMM", "tex", -ECOMM},
		{"get:*:short=0=ECOMM", "", -ECOMM},
		{"get:*:short=4=EBADMSG", "text", -EBADMSG},
		{"any:1+:after=ETIMEDOUT", "", -ETIMEDOUT},
		{"get:2:before=ECOMM;get:1:delay=1", "text", 0},
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct scratch s;
		struct object obj;
		struct bowl bowl;
		struct backend *f, *be = scratch_backend(&s);
		CHECK_EQ(scratch_put(be, "k", "text", NULL, &obj), 0);
		CHECK_EQ(fault_new(be, cases[i].script, &f), 0);
		CHECK_EQ(scratch_get(f, "k", &obj, &bowl, NULL), cases[i].r);
		CHECK_STR(bowl.data, cases[i].got);
		backend_free(f);
		scratch_done(&s);
	}
}

static int count_entry(void *arg, const char *key, size_t key_len,
		       const struct object *obj)
{
	(void)key;
	(void)key_len;
	(void)obj;
	++*(int *)arg;
	return 0;
}

static void fault__lost_list_delivers_nothing(void)
{
	struct scratch s;
	struct backend *f;
	int n = 0;
	char *token = NULL;
	const struct list_query q = {.prefix = ""};
	CHECK_EQ(fault_new(scratch_backend(&s), "list:1:after=ECOMM", &f), 0);
	CHECK_EQ(scratch_put(f, "k", "text", NULL, NULL), 0);
	CHECK_EQ(backend_list(f, &q, &token, count_entry, &n, NULL), -ECOMM);
	CHECK_EQ(n, 0);
	CHECK_EQ(backend_list(f, &q, &token, count_entry, &n, NULL), 0);
	CHECK_EQ(n, 1);
	CHECK(!token);
	backend_free(f);
	scratch_done(&s);
}

static void fault__has_no_more_operations_than_the_store(void)
{
	struct scratch s;
	struct backend *f;
	CHECK_EQ(fault_new(scratch_backend(&s), "", &f), 0);
	CHECK(!f->ops->upload_begin && f->ops->rename);
	CHECK_STR(f->ops->scheme, "file");
	backend_free(f);
	scratch_done(&s);
}

int main(void)
{
	RUN(fault__refuses_what_is_no_script);
	RUN(fault__counts_and_picks_calls);
	RUN(fault__cuts_a_get_short);
	RUN(fault__lost_list_delivers_nothing);
	RUN(fault__has_no_more_operations_than_the_store);
	return 0;
}
