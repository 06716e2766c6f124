/* test_azure_write.c - what is written to Azure: puts, blocks, copies and renames. */
#include <errno.h>
#include "backends/azure_store.h"
#include "backends/util/cleanup.h"
#include "tests/unit/azure_rig.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static void azure__a_put_carries_what_others_read(void)
{
	struct object obj;
	struct source src = scratch_source("abc", 3);
	struct put_opts opts = {
		.cond.if_absent = true, .mtime_ns = 946684799000000001, .tag = "t1"};
	struct server s = {.answers = {MADE, ANSWER("409", CODE("BlobAlreadyExists")),
				       ANSWER("412", CODE("ConditionNotMet"))}};
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(be->ops->put(be, "jw01_uncal.fits", &src, &opts, &obj, NULL), 0);
	CHECK_STR(obj.etag, "\"0x2\"");
	CHECK(strstr(s.seen, "x-ms-blob-type: BlockBlob\r\n"));
	CHECK(strstr(s.seen, "if-none-match: *\r\n"));
	CHECK(strstr(s.seen, "x-ms-meta-mtime: " LONG_AGO "\r\n"));
	CHECK(strstr(s.seen, "x-ms-meta-mastfs_tag: t1\r\n"));
	CHECK(strstr(s.seen, "x-ms-meta-processing_level: "));
	CHECK(strstr(s.seen, "x-ms-tags: processing_level="));
	CHECK(strstr(s.seen, "content-md5: kAFQmDzST7DWlj99KOF/cg==\r\n"));
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), -EEXIST);
	opts.cond = (struct cond){.if_etag = "\"0x1\""};
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), -ESTALE);
	CHECK(strstr(s.seen, "if-match: \"0x1\"\r\n"));
	done(&s, be);
	(void)close(src.fd);
}

/* P8: the service that gives out tokens is away for a moment, which is no refusal. */
static void azure__a_token_that_cannot_be_renewed_now_is_no_refusal(void)
{
	struct object obj;
	struct source src = scratch_source("abc", 3);
	struct put_opts opts = {0};
	struct server s = {.answers = {TOKEN_GIVEN, ANSWER("401", ""), ANSWER("503", ""),
				       ANSWER("503", ""), ANSWER("503", "")}};
	struct backend *be = open_by_token(&s);
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), -EBUSY);
	CHECK_EQ(s.served, 5);
	forget_token();
	done(&s, be);
	(void)close(src.fd);
	(void)logged();
}

static void azure__refused_tags_are_left_out_from_then_on(void)
{
	struct object obj;
	struct source src = scratch_source("abc", 3);
	struct put_opts opts = {0};
	struct server s = {
		.answers = {ANSWER("403", CODE("AuthorizationPermissionMismatch")), MADE,
			    MADE}};
	struct backend *be = open_at(&s, "az://acc/cont");
	(void)logged();
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), 0);
	const char *text = logged();
	CHECK(strstr(text, "takes no index tags") && !strstr(text, "error"));
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), 0);
	CHECK(!strstr(s.seen, "x-ms-tags"));
	CHECK(strstr(s.seen, "x-ms-meta-processing_level: "));
	CHECK_STR(logged(), "");
	CHECK_EQ(s.served, 3);
	done(&s, be);
	struct server t = {.answers = {ANSWER("403", ""), ANSWER("403", "")}};
	be = open_at(&t, "az://acc/cont");
	/* not the tags: no right at all */
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), -EACCES);
	done(&t, be);
	(void)close(src.fd);
	(void)logged();
}

static void azure__tiers_are_written_as_azure_does(void)
{
	static const char *const env[] = {"AZURE_STORAGE_KEY=" SECRET, NULL};
	struct object obj;
	struct source src = scratch_source("abc", 3);
	struct put_opts opts = {0};
	struct server s = {.answers = {MADE}};
	struct backend *be;
	char endpoint[64];
	server_start(&s, NULL);
	set_environment(env);
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s.url) - 4),
		       s.url);
	struct backend_conf conf = {
		.url = "az://acc/cont", .endpoint = endpoint, .storage_class = "COOL"};
	CHECK_EQ(azure_open(&conf, &be), 0);
	CHECK_EQ(be->ops->put(be, "k", &src, &opts, &obj, NULL), 0);
	CHECK(strstr(s.seen, "x-ms-access-tier: Cool\r\n"));
	done(&s, be);
	(void)close(src.fd);
}

/* --- blocks --- */

static void azure__blocks_belong_to_one_upload(void)
{
	struct source src = scratch_source("abcde", 5);
	struct put_opts opts = {.tag = "t1"};
	struct object obj;
	struct part parts[2] = {{.number = 1, .size = 5}, {.number = 50000, .size = 5}};
	struct server s = {.answers = {MADE, MADE, MADE, MADE, BLOB("10", "")}};
	CLEANUP_FREE char *id = NULL;
	CLEANUP_FREE char *other = NULL;
	CLEANUP_BUF struct buf body;
	buf_init(&body, 1024);
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(be->ops->upload_begin(be, "k", 0, &opts, &id, NULL), 0);
	CHECK_EQ(be->ops->upload_begin(be, "k", 0, &opts, &other, NULL), 0);
	CHECK_EQ(s.served, 0);
	CHECK(strlen(id) == 32 && strcmp(id, other) != 0);
	CHECK_EQ(be->ops->upload_part(be, "k", id, 0, &src, &parts[0], NULL), 0);
	CHECK(strstr(s.seen, "PUT /acc/cont/k?blockid="));
	CHECK(strstr(s.seen, "content-md5: "));
	CHECK_EQ(be->ops->upload_part(be, "k", id, 5, &src, &parts[1], NULL), 0);
	/* as AzCopy's */
	CHECK_EQ(base64_decode(&body, parts[1].receipt, strlen(parts[1].receipt)), 0);
	CHECK_EQ(body.len, 36);
	/* Sent again it is another block: the first may arrive late. */
	char first[ETAG_SIZE];
	memcpy(first, parts[0].receipt, sizeof first);
	CHECK_EQ(be->ops->upload_part(be, "k", id, 0, &src, &parts[0], NULL), 0);
	CHECK(strcmp(first, parts[0].receipt) &&
	      strlen(first) == strlen(parts[0].receipt));
	/* the committed blob has the size of what was sent, but another version */
	CHECK_EQ(be->ops->upload_finish(be, "k", id, parts, 2, 10, &opts, &obj, NULL), 0);
	CHECK_STR(obj.etag, "\"0x2\"");
	CHECK_EQ(be->ops->upload_abort(be, "k", id, NULL), 0);
	CHECK_EQ(be->ops->upload_part(be, "k", id, 0, &src, &parts[0], NULL), -ENXIO);
	CHECK_EQ(be->ops->upload_part(be, "k", "x", 0, &src, &parts[0], NULL), -ENXIO);
	CHECK_EQ(s.served, 5);
	done(&s, be);
	(void)close(src.fd);
}

#define OTHER_LENGTH ANSWER("400", CODE("InvalidBlobOrBlock"))
#define LEFT(ids)                                                               \
	XML("\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>" \
	    "<UncommittedBlocks>" ids "</UncommittedBlocks></BlockList>")
#define BLOCK(id) "<Block><Name>" id "</Name><Size>6</Size></Block>"
#define UPLOAD	  "0123456789abcdef0123456789abcdef"

/* One part more of an upload; how many bytes the id of its block has, or what became of
 * it. */
static int send_block(struct backend *be)
{
	struct source src = scratch_source("abcde", 5);
	struct part part = {.number = 1, .size = 5};
	CLEANUP_BUF struct buf id;
	buf_init(&id, 64);
	int r = be->ops->upload_part(be, "k", UPLOAD, 0, &src, &part, NULL);
	if (!r)
		CHECK_EQ(base64_decode(&id, part.receipt, strlen(part.receipt)), 0);
	(void)close(src.fd);
	return r ? r : (int)id.len;
}

static void azure__blocks_are_named_as_long_as_those_that_lie_there(void)
{
	struct server s = {.answers = {OTHER_LENGTH,
				       LEFT(BLOCK("MDAwMDAwMDAw") BLOCK("MDAwMDAwMDAx")),
				       MADE, MADE,
				       /* they went, and others came */
				       OTHER_LENGTH, LEFT(""), MADE, MADE},
			   .wanted = "PUT /acc/cont/k?blockid="};
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(send_block(be), 9);
	CHECK(strstr(logged(), "az://acc/cont/k: blocks with ids of 9 bytes lie there"));
	CHECK_EQ(s.served, 3);
	CHECK_EQ(send_block(be), 9);
	CHECK_EQ(s.served, 4);
	CHECK_EQ(send_block(be), 36);
	CHECK_EQ(s.served, 7);
	CHECK_EQ(send_block(be), 36);
	CHECK_STR(logged(), "");
	CHECK_EQ(s.met, 6);
	done(&s, be);
}

/* Said once, and nothing more is sent. */
static void check_refused(const char *answer, const char *list, int requests,
			  const char *said)
{
	struct server s = {.answers = {answer, list, answer}};
	struct backend *be = open_at(&s, "az://acc/cont");
	(void)logged();
	CHECK_EQ(send_block(be), -EOPNOTSUPP);
	const char *text = logged();
	CHECK(strstr(text, "az://acc/cont/k takes no blocks from us"));
	CHECK(strstr(text, said) && !strstr(text, "error"));
	CHECK_EQ(send_block(be), -EOPNOTSUPP);
	CHECK_STR(logged(), "");
	CHECK_EQ(s.served, requests);
	CHECK_EQ(be->ops->upload_abort(be, "k", UPLOAD, NULL), 0);
	CHECK_EQ(send_block(be), -ENXIO);
	done(&s, be);
}

static void azure__blocks_that_are_not_taken_are_not_sent(void)
{
	check_refused(OTHER_LENGTH, LEFT(BLOCK("AAAAAA==")), 2, "ids of 4 bytes");
	check_refused(OTHER_LENGTH, LEFT(BLOCK("AAAAAAAAAAA=")), 3,
		      "400 InvalidBlobOrBlock");
	check_refused(ANSWER("409", CODE("BlobOperationNotSupported")), NULL, 1,
		      "Data Lake");
	check_refused(ANSWER("409", CODE("InvalidBlobType")), NULL, 1, "InvalidBlobType");
}

/* And what is refused for another reason is said as ever, once. */
static void azure__a_block_that_is_wrong_is_an_error(void)
{
	struct server s = {.answers = {ANSWER("400", CODE("InvalidHeaderValue")),
				       ANSWER("405", CODE("UnsupportedHttpVerb"))}};
	struct backend *be = open_at(&s, "az://acc/cont");
	(void)logged();
	CHECK_EQ(send_block(be), -EINVAL);
	const char *text = logged(), *said = strstr(text, "error: azure: put block");
	CHECK(said && strstr(said, "InvalidHeaderValue") && !strstr(said + 1, "error"));
	CHECK_EQ(send_block(be), -EOPNOTSUPP);
	CHECK(strstr(logged(), "error: azure: put block"));
	done(&s, be);
}

/* What is not known for certain is no reason: the part is sent again. */
static void azure__a_list_of_blocks_that_does_not_come(void)
{
	static const char *const lists[] = {ANSWER("503", ""), XML("<html></htm"),
					    LEFT(BLOCK("?")), ANSWER("403", "")};
	static const int errors[] = {-EBUSY, -EBADMSG, -EBADMSG, -EACCES};
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		struct server s = {.answers = {OTHER_LENGTH, lists[i], MADE}};
		struct backend *be = open_at(&s, "az://acc/cont");
		CHECK_EQ(send_block(be), errors[i]);
		CHECK_EQ(send_block(be), 36);
		done(&s, be);
	}
	(void)logged();
}

static int finish(const char *answer, const char *head)
{
	struct server s = {.answers = {answer, head}};
	struct part part = {.number = 1, .size = 5, .receipt = "AAAA"};
	struct put_opts opts = {.cond.if_absent = true};
	struct object obj;
	struct backend *be = open_at(&s, "az://acc/cont");
	int r = be->ops->upload_finish(be, "k", UPLOAD, &part, 1, 5, &opts, &obj, NULL);
	if (!head) {
		CHECK(strstr(s.seen, "<BlockList><Latest>AAAA</Latest></BlockList>"));
		CHECK(strstr(s.seen, "x-ms-blob-content-type: "));
	}
	done(&s, be);
	return r;
}

static void azure__P2_a_commit_is_looked_at(void)
{
	static const char same[] = ANSWER("201", "ETag: \"0x1\"\r\n");
	CHECK_EQ(finish(same, BLOB("5", "")), 0);
	CHECK_EQ(finish(same, BLOB("4", "")), -EBADE);
	CHECK_EQ(finish(same, ANSWER("404", "")), -EREMOTEIO);
	CHECK_EQ(finish(ANSWER("201", ""), NULL), -EREMOTEIO);
	CHECK_EQ(finish(ANSWER("409", CODE("BlobAlreadyExists")), NULL), -EEXIST);
	CHECK_EQ(finish(ANSWER("412", CODE("ConditionNotMet")), NULL), -EEXIST);
	CHECK_EQ(finish(ANSWER("400", CODE("InvalidBlockList")), NULL), -ENXIO);
	CHECK_EQ(finish(ANSWER("409", CODE("BlobOperationNotSupported")),
			ANSWER("409", CODE("BlobOperationNotSupported"))),
		 -EOPNOTSUPP);
	(void)logged();
}

/* --- copies and renames --- */

static int copy(const char *const *answers, const struct put_opts *opts,
		const char *expect)
{
	struct server s = {.served = 0};
	struct object obj, from = {.size = 5, .etag = "\"0x1\""};
	for (size_t i = 0; i < 7 && answers[i]; i++)
		s.answers[i] = answers[i];
	struct backend *be = open_at(&s, "az://acc/cont");
	int r = be->ops->copy(be, "a b", &from, "to", opts, &obj, NULL);
	if (expect)
		CHECK(strstr(s.seen, expect));
	done(&s, be);
	(void)logged();
	return r;
}

static void azure__copies_are_waited_for(void)
{
	struct put_opts none = {0}, absent = {.cond.if_absent = true},
			ours = {.tag = "t1"};
	const char *tagged[] = {ANSWER("202", COPY("success")),
				BLOB("5", "x-ms-meta-mastfs_tag: t1\r\n"), NULL};
	const char *theirs[] = {ANSWER("202", COPY("success")),
				BLOB("5", "x-ms-meta-mastfs_tag: t2\r\n"), NULL};
	const char *at_once[] = {ANSWER("202", COPY("success")), BLOB("5", ""), NULL};
	const char *later[] = {ANSWER("202", COPY("pending")), BLOB("0", COPY("pending")),
			       BLOB("5", COPY("success")), BLOB("5", ""), NULL};
	const char *failed[] = {ANSWER("202", COPY("pending")), BLOB("0", COPY("failed")),
				ANSWER("409", ""), NULL};
	const char *shorter[] = {ANSWER("202", COPY("success")), BLOB("4", ""), NULL};
	const char *silent[] = {ANSWER("202", ""), NULL};
	const char *source[] = {ANSWER("412", CODE("SourceConditionNotMet")), NULL};
	const char *target[] = {ANSWER("412", CODE("ConditionNotMet")), NULL};
	const char *exists[] = {ANSWER("409", CODE("BlobAlreadyExists")), NULL};
	const char *archived[] = {ANSWER("409", CODE("BlobArchived")), NULL};
	const char *gone[] = {ANSWER("404", CODE("CannotVerifyCopySource")), NULL};
	const char *late[] = {ANSWER("500", CODE("CannotVerifyCopySource")), NULL};
	const char *unread[] = {ANSWER("403", CODE("CannotVerifyCopySource")), NULL};
	CHECK_EQ(copy(at_once, &none, NULL), 0);
	CHECK_EQ(copy(tagged, &ours, NULL), 0);
	/* P1: of the same size, but another writer's. */
	CHECK_EQ(copy(theirs, &ours, NULL), -EREMOTEIO);
	CHECK_EQ(copy(at_once, &ours, NULL), -EREMOTEIO);
	CHECK_EQ(copy(later, &none, NULL), 0);
	CHECK_EQ(copy(failed, &none, "comp=copy&copyid=c1"), -EREMOTEIO);
	CHECK_EQ(copy(shorter, &none, NULL), -EBADMSG);
	CHECK_EQ(copy(silent, &none, "/acc/cont/a%20b\r\n"), -EREMOTEIO);
	CHECK_EQ(copy(source, &absent, "x-ms-source-if-match: \"0x1\"\r\n"), -ESTALE);
	CHECK_EQ(copy(target, &absent, "if-none-match: *\r\n"), -EEXIST);
	CHECK_EQ(copy(exists, &absent, NULL), -EEXIST);
	CHECK_EQ(copy(archived, &none, NULL), -ENODATA);
	CHECK_EQ(copy(gone, &none, NULL), -ESTALE);
	CHECK_EQ(copy(late, &none, NULL), -EREMOTEIO);
	/* and it is not the tags that are refused */
	CHECK_EQ(copy(unread, &none, "x-ms-tags: "), -EACCES);
}

static void azure__metadata_of_others_is_kept(void)
{
	struct object obj, from = {.size = 5, .etag = "\"0x1\""};
	struct put_opts opts = {.mtime_ns = 946684799000000001, .tag = "t2"};
	struct server s = {.answers = {BLOB("5", "x-ms-meta-mtime: x\r\n"
						 "x-ms-meta-mastfs_tag: t1\r\n"
						 "x-ms-meta-Owner: me\r\n"),
				       ANSWER("200", "ETag: \"0x2\"\r\n")}};
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(be->ops->copy(be, "k", &from, "k", &opts, &obj, NULL), 0);
	CHECK(strstr(s.seen, "PUT /acc/cont/k?comp=metadata HTTP"));
	CHECK(strstr(s.seen, "if-match: \"0x1\"\r\n"));
	CHECK(strstr(s.seen, "x-ms-meta-owner: me\r\n"));
	CHECK(strstr(s.seen, "x-ms-meta-mastfs_tag: t2\r\n"));
	CHECK(strstr(s.seen, "x-ms-meta-mtime: " LONG_AGO "\r\n"));
	CHECK(!strstr(s.seen, ": t1\r\n") && !strstr(s.seen, "mtime: x"));
	CHECK_STR(obj.etag, "\"0x2\"");
	CHECK_EQ(obj.size, 5);
	done(&s, be);
}

static void azure__renames_make_the_parent(void)
{
	struct server s = {
		.answers = {ANSWER("404", CODE("RenameDestinationParentPathNotFound")),
			    MADE, MADE, ANSWER("404", CODE("SourcePathNotFound"))}};
	struct backend *be = open_at(&s, "az://acc/cont/p");
	CHECK_EQ(be->ops->rename(be, "a b", "x/y", NULL), 0);
	CHECK(strstr(s.seen, "PUT /acc/cont/p/x/y?mode=legacy HTTP"));
	CHECK(strstr(s.seen, "x-ms-rename-source: /acc/cont/p/a%20b\r\n"));
	CHECK(strstr(s.seen, "Content-Length: 0\r\n"));
	CHECK_EQ(s.served, 3);
	CHECK_EQ(be->ops->rename(be, "a", "b", NULL), -ENOENT);
	done(&s, be);
	(void)logged();
}

static void azure__a_hierarchy_has_real_directories(void)
{
	struct object obj;
	struct source src = scratch_source("", 0);
	struct put_opts opts = {0};
	struct server s = {.answers = {MADE, ANSWER("404", ""), BLOB("0", FOLDER),
				       ANSWER("409", CODE("DirectoryIsNotEmpty"))}};
	struct backend *be = open_at(&s, "az://acc/cont");
	be->caps |= BACKEND_RENAME;
	CHECK_EQ(be->ops->put(be, "d/", &src, &opts, &obj, NULL), 0);
	CHECK(strstr(s.seen, "PUT /acc/cont/d HTTP"));
	CHECK(strstr(s.seen, "x-ms-meta-hdi_isfolder: true\r\n"));
	CHECK(!strstr(s.seen, "x-ms-meta-processing_level"));
	CHECK_EQ(be->ops->del(be, "d/", NULL, NULL), 0);
	done(&s, be);
	(void)close(src.fd);
}

static uint32_t probe_kind(const char *properties, bool *ret_renames)
{
	/* It is away at first; the probe's put is refused: that is no error. */
	struct server s = {.answers = {ANSWER("503", ""), PAGE("", ""), properties,
				       ANSWER("403", ""), ANSWER("403", "")}};
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(be->ops->probe(be, true, NULL), -EBUSY);
	CHECK_EQ(be->ops->probe(be, true, NULL), 0);
	uint32_t caps = be->caps;
	be->caps |= BACKEND_WRITE;
	*ret_renames = backend_rename(be, "a", "b", NULL) != -EOPNOTSUPP;
	done(&s, be);
	(void)logged();
	return caps;
}

static void azure__a_hierarchy_is_asked_for(void)
{
	bool renames;
	CHECK(probe_kind(ANSWER("200", "x-ms-is-hns-enabled: true\r\n"), &renames) &
	      BACKEND_RENAME);
	CHECK(renames);
	CHECK(!(probe_kind(ANSWER("200", "x-ms-is-hns-enabled: false\r\n"), &renames) &
		BACKEND_RENAME));
	CHECK(!renames);
	uint32_t caps = probe_kind(ANSWER("403", ""), &renames);
	CHECK(!renames && !(caps & BACKEND_RENAME) && !(caps & BACKEND_WRITE));
}

int main(void)
{
	log_start();
	RUN(azure__a_put_carries_what_others_read);
	RUN(azure__a_token_that_cannot_be_renewed_now_is_no_refusal);
	RUN(azure__refused_tags_are_left_out_from_then_on);
	RUN(azure__tiers_are_written_as_azure_does);
	RUN(azure__blocks_belong_to_one_upload);
	RUN(azure__blocks_are_named_as_long_as_those_that_lie_there);
	RUN(azure__blocks_that_are_not_taken_are_not_sent);
	RUN(azure__a_block_that_is_wrong_is_an_error);
	RUN(azure__a_list_of_blocks_that_does_not_come);
	RUN(azure__P2_a_commit_is_looked_at);
	RUN(azure__copies_are_waited_for);
	RUN(azure__metadata_of_others_is_kept);
	RUN(azure__renames_make_the_parent);
	RUN(azure__a_hierarchy_has_real_directories);
	RUN(azure__a_hierarchy_is_asked_for);
	return 0;
}
