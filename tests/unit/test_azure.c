/* test_azure.c - what is said to Azure and understood of its answers, without an Azure:
 * answers that a real one seldom gives. */
#include <errno.h>
#include "backends/azure_store.h"
#include "backends/util/cleanup.h"
#include "tests/unit/azure_rig.h"
#include "tests/unit/scratch.h"
#include "backends/util/banned.h"

static void azure__a_request_has_its_headers(void)
{
	struct object obj;
	struct server s = {.answers = {BLOB("5", "x-ms-meta-mtime: " LONG_AGO "\r\n"
						 "x-ms-meta-mastfs_tag: t1\r\n")}};
	struct backend *be = open_at(&s, "az://acc/cont/p");
	CHECK_EQ(be->ops->head(be, "a b/c+", &obj, NULL), 0);
	CHECK_EQ(obj.size, 5);
	CHECK_STR(obj.etag, "\"0x1\"");
	CHECK_STR(obj.tag, "t1");
	CHECK_EQ(obj.mtime_ns, 946684799000000001);
	CHECK(strstr(s.seen, "HEAD /acc/cont/p/a%20b/c%2B HTTP/1.1\r\n"));
	CHECK(strstr(s.seen, "x-ms-version: 2021-12-02\r\n"));
	CHECK(strstr(s.seen, "x-ms-date: "));
	CHECK(strstr(s.seen, "x-ms-client-request-id: "));
	CHECK(strstr(s.seen, "authorization: SharedKey acc:"));
	CHECK_STR(be->name, "az://acc/cont/p");
	done(&s, be);
}

static void azure__a_sas_goes_into_the_query_only(void)
{
	static const char *const env[] = {"AZURE_STORAGE_SAS_TOKEN=?" SAS, NULL};
	struct object obj, from = {.size = 5, .etag = "\"0x1\""};
	struct put_opts none = {0};
	struct server s = {.answers = {BLOB("5", ""), ANSWER("404", "")}};
	struct backend *be = open_env(&s, "az://acc/cont", env);
	CHECK_EQ(be->ops->head(be, "k", &obj, NULL), 0);
	CHECK(strstr(s.seen, "HEAD /acc/cont/k?" SAS " HTTP"));
	CHECK(!strstr(s.seen, "authorization"));
	/* the source of a copy needs it, too */
	CHECK_EQ(be->ops->copy(be, "k", &from, "to", &none, &obj, NULL), -ESTALE);
	CHECK(strstr(s.seen, "/acc/cont/k?" SAS "\r\n"));
	done(&s, be);
	CHECK(!strstr(logged(), "canary"));
}

static void azure__a_token_is_borne(void)
{
	struct object obj;
	struct server s = {.answers = {TOKEN_GIVEN, BLOB("5", "")}};
	struct backend *be = open_by_token(&s);
	CHECK_EQ(be->ops->head(be, "k", &obj, NULL), 0);
	CHECK(strstr(s.seen, "authorization: Bearer canary\r\n"));
	forget_token();
	done(&s, be);
	CHECK(!strstr(logged(), "canary"));
}

static void azure__an_old_sas_is_said_to_be_old(void)
{
	static const char *const env[] = {"AZURE_STORAGE_SAS_TOKEN=" SAS, NULL};
	struct server s = {.answers = {ANSWER("403", CODE("AuthenticationFailed"))}};
	struct backend *be = open_env(&s, "az://acc/cont", env);
	CHECK_EQ(be->ops->probe(be, true, NULL), -EACCES);
	const char *text = logged();
	CHECK(strstr(text, "the SAS of AZURE_STORAGE_SAS_TOKEN expired at "
			   "2020-01-02T03:04:00Z"));
	CHECK(!strstr(text, "canary"));
	done(&s, be);
}

static void azure__a_clock_that_is_off_is_corrected_once(void)
{
	struct object obj;
	struct server s = {
		.answers = {ANSWER("403", CODE("AuthenticationFailed") "Date: Fri, 24 "
								       "May 2013 "
								       "00:00:01 "
								       "GMT\r\n"),
			    BLOB("5", "")}};
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(be->ops->head(be, "k", &obj, NULL), 0);
	CHECK(strstr(s.seen, "x-ms-date: Fri, 24 May 2013 00:00:0"));
	done(&s, be);
	(void)logged();
}

static int probe_with(const char *answer)
{
	struct server s = {.answers = {answer}};
	struct backend *be = open_at(&s, "az://acc/cont");
	int r = be->ops->probe(be, false, NULL);
	done(&s, be);
	return r;
}

static void azure__a_mount_that_fails_says_why(void)
{
	CHECK_EQ(probe_with(ANSWER("404", CODE("ContainerNotFound"))), -ENODEV);
	CHECK(strstr(logged(), "there is no container \"cont\" at http://127.0.0.1"));
	CHECK_EQ(probe_with(ANSWER("403", CODE("AuthenticationFailed"))), -EACCES);
	CHECK(strstr(logged(), "AZURE_STORAGE_KEY is not accepted: the wrong key?"));
	CHECK_EQ(probe_with(ANSWER("403", CODE("AuthorizationPermissionMismatch"))),
		 -EACCES);
	CHECK(strstr(logged(), "AZURE_STORAGE_KEY gives no right"));
	CHECK_EQ(probe_with(XML("<html></html>")), -EREMOTEIO);
	(void)logged();
}

static int errno_of(int status, const char *code)
{
	struct store_error e = {.status = status};
	(void)snprintf(e.code, sizeof e.code, "%s", code);
	return azure_errno(&e);
}

static void azure__errors_are_those_of_backend_h(void)
{
	CHECK_EQ(errno_of(404, "BlobNotFound"), -ENOENT);
	CHECK_EQ(errno_of(404, ""), -ENOENT);
	CHECK_EQ(errno_of(404, "ContainerNotFound"), -ENODEV);
	CHECK_EQ(errno_of(409, "BlobAlreadyExists"), -EEXIST);
	CHECK_EQ(errno_of(412, "ConditionNotMet"), -ESTALE);
	CHECK_EQ(errno_of(412, "LeaseIdMissing"), -EBUSY);
	CHECK_EQ(errno_of(409, "BlobArchived"), -ENODATA);
	CHECK_EQ(errno_of(409, "BlobBeingRehydrated"), -ENODATA);
	CHECK_EQ(errno_of(400, "InvalidBlockList"), -ENXIO);
	/* of blocks it is more, of a copy this would mean one without a condition */
	CHECK_EQ(errno_of(409, "BlobOperationNotSupported"), -EINVAL);
	CHECK_EQ(errno_of(416, "InvalidRange"), -ESTALE);
	CHECK_EQ(errno_of(503, "ServerBusy"), -EBUSY);
	CHECK_EQ(errno_of(500, "OperationTimedOut"), -EREMOTEIO);
	CHECK_EQ(errno_of(400, "Md5Mismatch"), -EBADMSG);
	CHECK_EQ(errno_of(413, "RequestBodyTooLarge"), -EFBIG);
	CHECK_EQ(errno_of(401, "InvalidAuthenticationInfo"), -EACCES);
	CHECK_EQ(errno_of(403, "AuthenticationFailed"), -EACCES);
	CHECK_EQ(errno_of(409, "SnapshotsPresent"), -EACCES);
	/* only its status says what it was that the source of a copy is not */
	CHECK_EQ(errno_of(404, "CannotVerifyCopySource"), -ENOENT);
	CHECK_EQ(errno_of(412, "CannotVerifyCopySource"), -ESTALE);
	CHECK_EQ(errno_of(403, "CannotVerifyCopySource"), -EACCES);
	CHECK_EQ(errno_of(500, "CannotVerifyCopySource"), -EREMOTEIO);
	/* a conflict that will not pass is not waited for */
	CHECK_EQ(errno_of(409, "ContainerBeingDeleted"), -EBUSY);
	CHECK_EQ(errno_of(409, "SomethingNew"), -EINVAL);
	CHECK_EQ(errno_of(400, "InvalidHeaderValue"), -EINVAL);
}

static void azure__what_is_gone_is_no_other_version(void)
{
	static const char other[] = ANSWER("412", CODE("ConditionNotMet"));
	struct cond cond = {.if_etag = "\"0x1\""};
	struct server s = {.answers = {other, ANSWER("404", ""), other, BLOB("5", ""),
				       other, BLOB("0", FOLDER), ANSWER("202", "")}};
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(be->ops->del(be, "k", &cond, NULL), -ENOENT);
	CHECK_EQ(be->ops->del(be, "k", &cond, NULL), -ESTALE);
	CHECK_EQ(be->ops->del(be, "d/", &cond, NULL), 0);
	CHECK(strstr(s.seen, "DELETE /acc/cont/d HTTP"));
	CHECK(strstr(s.seen, "if-match: \"0x1\"\r\n"));
	done(&s, be);
}

static void azure__markers_are_found_in_either_form(void)
{
	struct object obj;
	struct server s = {.answers = {ANSWER("404", CODE("BlobNotFound")),
				       BLOB("0", FOLDER), BLOB("0", FOLDER),
				       ANSWER("404", ""), BLOB("0", FOLDER),
				       ANSWER("202", "")}};
	struct backend *be = open_at(&s, "az://acc/cont");
	CHECK_EQ(be->ops->head(be, "d/", &obj, NULL), 0);
	CHECK_EQ(obj.size, 0);
	CHECK(strstr(s.seen, "HEAD /acc/cont/d HTTP"));
	/* and it is no file */
	CHECK_EQ(be->ops->head(be, "d", &obj, NULL), -ENOENT);
	CHECK_EQ(be->ops->del(be, "d/", NULL, NULL), 0);
	CHECK(strstr(s.seen, "DELETE /acc/cont/d HTTP"));
	CHECK(strstr(s.seen, "if-match: \"0x1\"\r\n"));
	done(&s, be);
}

static void azure__keys_that_no_blob_has_are_refused(void)
{
	static const char *const bad[] = {".", "a/../b", "./a", "a/.", "a\\b", ".."};
	struct object obj;
	struct server s = {.answers = {NULL}};
	struct backend *be = open_at(&s, "az://acc/cont");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_EQ(be->ops->head(be, bad[i], &obj, NULL), -EILSEQ);
	/* and those that no listing can tell are not made */
	struct source src = scratch_source("", 0);
	struct put_opts none = {0};
	CHECK_EQ(be->ops->put(be, "a\rb", &src, &none, &obj, NULL), -EILSEQ);
	CHECK_EQ(be->ops->put(be, "a\xef\xbf\xbe", &src, &none, &obj, NULL), -EILSEQ);
	CHECK_EQ(s.served, 0);
	(void)close(src.fd);
	done(&s, be);
	(void)logged();
}

/* --- listings --- */

struct seen {
	char text[1024];
	struct object last;
};

static int note(void *arg, const char *key, size_t len, const struct object *obj)
{
	struct seen *seen = arg;
	size_t n = strlen(seen->text);
	for (size_t i = 0; i < len; i++)
		seen->text[n++] = key[i] ? key[i] : '@';
	(void)snprintf(seen->text + n, sizeof seen->text - n, obj ? "=%d " : " ",
		       obj ? (int)obj->size : 0);
	if (obj)
		seen->last = *obj;
	return 0;
}

static int list(const char *answer, const char *then, struct seen *seen, char **token)
{
	struct server s = {.answers = {answer, then}};
	struct list_query q = {.prefix = "d/", .delim = '/'};
	*seen = (struct seen){.text = ""};
	*token = NULL;
	struct backend *be = open_at(&s, "az://acc/cont/p");
	int r = be->ops->list(be, &q, token, note, seen, NULL);
	if (s.served == 1)
		CHECK(strstr(s.seen, "comp=list&delimiter=%2F&include=metadata&"
				     "maxresults=5000&prefix=p%2Fd%2F&restype="));
	done(&s, be);
	return r;
}

#define ENTRY(name, meta)                                                             \
	"<Blob>" name "<Properties><Last-Modified>Fri, 24 May 2013 00:00:01 GMT"      \
	"</Last-Modified><Etag>0x8D</Etag><Content-Length>3</Content-Length>"         \
	"<ResourceType>file</ResourceType></Properties><Metadata>" meta "</Metadata>" \
	"</Blob>"
#define NAME(name)   "<Name>" name "</Name>"
#define CODED(name)  "<Name Encoded=\"true\">" name "</Name>"
#define PREFIX(name) "<BlobPrefix>" NAME(name) "</BlobPrefix>"

static void azure__a_page_is_sorted_decoded_and_relative(void)
{
	struct seen seen;
	char *token;
	CHECK_EQ(list(PAGE(ENTRY(NAME("p/d/b%41+"), "") ENTRY(CODED("p/d/a%00%2B+"), "")
				   PREFIX("p/d/aa/"),
			   ""),
		      NULL, &seen, &token),
		 0);
	CHECK_STR(seen.text, "d/a@++=3 d/aa/ d/b%41+=3 ");
	CHECK_STR(seen.last.etag, "\"0x8D\"");
	CHECK_EQ(seen.last.mtime_ns, 1369353601000000000);
	CHECK(!token);
	CHECK_EQ(list(PAGE(ENTRY(NAME("p/d/a"), "<mtime>" LONG_AGO "</mtime>"
						"<Mastfs_Tag>t1</Mastfs_Tag><Etag>x"
						"</Etag>"),
			   ""),
		      NULL, &seen, &token),
		 0);
	CHECK_EQ(seen.last.mtime_ns, 946684799000000001);
	CHECK_STR(seen.last.tag, "t1");
	CHECK_STR(seen.last.etag, "\"0x8D\"");
}

static void azure__an_empty_page_may_have_a_successor(void)
{
	struct seen seen;
	char *token;
	CHECK_EQ(list(PAGE("", "2!92!x&amp;/="), NULL, &seen, &token), 0);
	CHECK_STR(seen.text, "");
	CHECK_STR(token, "2!92!x&/=");
	free(token);
}

static void azure__directories_of_others_are_directories(void)
{
	struct seen seen;
	char *token;
	CHECK_EQ(list(PAGE(ENTRY(NAME("p/d/sub"), "<hdi_isfolder>true</hdi_isfolder>")
				   PREFIX("p/d/sub/")
					   ENTRY(NAME("p/d/"),
						 "<hdi_isfolder>true</hdi_isfolder>"),
			   ""),
		      NULL, &seen, &token),
		 0);
	CHECK_STR(seen.text, "d/=3 d/sub/ ");
	/* one with nothing in it is not below its own prefix */
	CHECK_EQ(list(PAGE("", ""), BLOB("0", FOLDER), &seen, &token), 0);
	CHECK_STR(seen.text, "d/=0 ");
	CHECK_EQ(list(PAGE("", ""), BLOB("0", ""), &seen, &token), 0);
	CHECK_STR(seen.text, "");
	/* and whether there is one must be known (P10) */
	CHECK_EQ(list(PAGE("", ""), ANSWER("503", CODE("ServerBusy")), &seen, &token),
		 -EBUSY);
}

static void azure__P10_an_unsound_page_delivers_nothing(void)
{
	static const char *const bad[] = {
		PAGE(ENTRY(NAME("p/d/a"), "") ENTRY(NAME("other"), ""), ""),
		PAGE(ENTRY(NAME("p/d/a"), "") ENTRY("", ""), ""),
		PAGE(ENTRY(NAME("p/d/a"), "") ENTRY(CODED("p/d/%4"), ""), ""),
		PAGE(ENTRY(NAME("p/d/a"), "") "<BlobPrefix></BlobPrefix>", ""),
		PAGE("<Blob>" NAME("p/d/a") "<Properties><Content-Length>-1"
					    "</Content-Length></Properties></Blob>",
		     ""),
		PAGE("<Blob>" NAME("p/d/a") "<Properties></Properties></Blob>", ""),
		PAGE("<Blob>" NAME("p/d/a") "<Properties><Etag>\"a\"b\"</Etag>"
					    "</Properties></Blob>",
		     ""),
		XML("<!DOCTYPE x [<!ENTITY e \"p/d/a\">]><EnumerationResults>"
		    "</EnumerationResults>"),
		XML("<EnumerationResults><Blobs>" ENTRY(NAME("p/d/a"), "")),
		XML("<Other></Other>"),
		XML(""),
		XML("<html><body>Sign in to the network</body></html>"),
		"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n<EnumerationResults>",
	};
	struct seen seen;
	char *token;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		int r = list(bad[i], NULL, &seen, &token);
		CHECK(r == -EBADMSG || r == -ECOMM);
		CHECK_STR(seen.text, "");
		CHECK(!token);
	}
	/* nor does a container that is gone make its directories empty */
	CHECK_EQ(list(ANSWER("404", CODE("ContainerNotFound")), NULL, &seen, &token),
		 -ENODEV);
	CHECK_EQ(list(ANSWER("404", ""), NULL, &seen, &token), -EREMOTEIO);
	(void)logged();
}

int main(void)
{
	log_start();
	RUN(azure__a_request_has_its_headers);
	RUN(azure__a_sas_goes_into_the_query_only);
	RUN(azure__a_token_is_borne);
	RUN(azure__an_old_sas_is_said_to_be_old);
	RUN(azure__a_clock_that_is_off_is_corrected_once);
	RUN(azure__a_mount_that_fails_says_why);
	RUN(azure__errors_are_those_of_backend_h);
	RUN(azure__what_is_gone_is_no_other_version);
	RUN(azure__markers_are_found_in_either_form);
	RUN(azure__keys_that_no_blob_has_are_refused);
	RUN(azure__a_page_is_sorted_decoded_and_relative);
	RUN(azure__an_empty_page_may_have_a_successor);
	RUN(azure__directories_of_others_are_directories);
	RUN(azure__P10_an_unsound_page_delivers_nothing);
	return 0;
}
