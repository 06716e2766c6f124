/* fuzz_list.c - answers in XML: listings, errors, results of uploads, of Amazon and its
 * likes and of Azure; and the token service's.  The first letter says which. */
#include <errno.h>
#include "backends/cred_source.h"
#include "tests/fuzz/store.h"
#include "backends/util/banned.h"

static const struct {
	char letter;
	const struct store_kind *kind;
	enum store_op op;
} runs[] = {
	{'l', &store_s3, STORE_LIST},	    {'L', &store_s3, STORE_LIST_ALL},
	{'u', &store_s3, STORE_UPLOADS},    {'f', &store_s3, STORE_FINISH},
	{'b', &store_s3, STORE_BEGIN},	    {'c', &store_s3, STORE_COPY},
	{'p', &store_s3, STORE_PUT},	    {'d', &store_s3, STORE_DEL},
	{'h', &store_s3, STORE_HEAD},	    {'s', &store_s3, STORE_PART},
	{'r', &store_s3, STORE_PROBE},	    {'a', &store_azure, STORE_LIST},
	{'A', &store_azure, STORE_LIST_ALL}, {'F', &store_azure, STORE_FINISH},
	{'C', &store_azure, STORE_COPY},    {'P', &store_azure, STORE_PUT},
	{'D', &store_azure, STORE_DEL},	    {'H', &store_azure, STORE_HEAD},
	{'S', &store_azure, STORE_PART},    {'R', &store_azure, STORE_PROBE},
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	store_start();
	return 0;
}

static void run_sts(const struct input *in)
{
	CLEANUP_CRED struct cred cred = {0};
	int r = cred_from_sts_xml((const char *)in->p, in->n, &cred);
	MUST(!r || r == -EBADMSG || r == -ENOMEM);
	MUST(r || (cred.access_key && *cred.access_key && cred.secret.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	char letter = (char)take_byte(&in);
	if (letter == 't')
		run_sts(&in);
	for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
		if (runs[i].letter == letter)
			store_run(runs[i].kind, runs[i].op, &in);
	return 0;
}
