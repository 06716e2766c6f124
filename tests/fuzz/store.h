/* store.h - operations of a store, answered from the input (wire.h), and what must hold
 * of each whatever the answers are (P1, P2, P10).
 */
#ifndef TESTS_FUZZ_STORE_H
#define TESTS_FUZZ_STORE_H
#include "backends/backend.h"
#include "tests/fuzz/wire.h"

/* Nothing of the tester's environment counts, sleeping takes no time, and nothing is
 * logged. */
void store_start(void);

enum store_op {
	STORE_LIST,  /* one level */
	STORE_LIST_ALL,
	STORE_HEAD,
	STORE_PUT,
	STORE_DEL,
	STORE_COPY,
	STORE_BEGIN,
	STORE_PART,
	STORE_FINISH,
	STORE_ABORT,
	STORE_UPLOADS,
	STORE_PROBE,
};

typedef int store_open_fn(const struct backend_conf *conf, struct backend **ret);

struct store_kind {
	store_open_fn *open;
	const char *url;	 /* with the prefix "p" */
	const char *etag;	 /* of the version that it speaks of */
	const char *upload;	 /* id of an upload that it may have begun */
	const char *receipt;	 /* of that upload's only part */
};
extern const struct store_kind store_s3, store_azure, store_gcs, store_gcs_session;

/* Runs the operation once against the answers in the input. */
void store_run(const struct store_kind *kind, enum store_op op, struct input *in);
#endif
