/* test_nth_azure.c - no memory, at any point of building a request to Azure or of reading
 * its answer: an error, or all of the answer (P1, P2). */
#include "tests/unit/azure_rig.h"
#undef XML
#include "tests/unit/nth_canned.h"
#include "backends/util/banned.h"

#define XML(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
#define FIVE                                                                        \
	"HTTP/1.1 206 Partial\r\nETag: \"0x1\"\r\nContent-Range: bytes 0-4/5\r\n" \
	"Content-Length: 5\r\n\r\n12345"

static const struct object five = {.size = 5, .etag = "\"0x1\""};

static int head(struct backend *be)
{
	struct object obj;
	int r = be->ops->head(be, "a b/c+", &obj, NULL);
	CHECK(r || (obj.size == 5 && !strcmp(obj.tag, "t1")));
	return r;
}

static int peek(struct backend *be)
{
	return canned_peek(be, "12345");
}

static int get(struct backend *be)
{
	return canned_get(be, &five, "12345");
}

static int put(struct backend *be)
{
	return canned_put(be, "\"0x2\"");
}

static int del(struct backend *be)
{
	return canned_del(be, "\"0x1\"");
}

static int list(struct backend *be)
{
	return canned_list(be, "d/a=1 d/s/* ");
}

static int copy(struct backend *be)
{
	return canned_copy(be, &five);
}

static int blocks(struct backend *be)
{
	struct source src = scratch_source("abcde", 5);
	struct put_opts opts = {.tag = "t1"};
	struct part part = {.number = 1, .size = 5};
	struct object obj;
	char *id = NULL;
	int r = be->ops->upload_begin(be, "k", 5, &opts, &id, NULL);
	CHECK(!r == !!id);
	if (!r)
		r = be->ops->upload_part(be, "k", id, 0, &src, &part, NULL);
	if (!r)
		r = be->ops->upload_finish(be, "k", id, &part, 1, 5, &opts, &obj, NULL);
	CHECK(r || obj.size == 5);
	free(id);
	(void)close(src.fd);
	return r;
}

static int move(struct backend *be)
{
	return be->ops->rename(be, "a b", "x/y", NULL);
}

static const struct canned_op ops[] = {
	{"azure-head",
	 "az://acc/cont/p",
	 {BLOB("5", "x-ms-meta-mtime: " LONG_AGO "\r\nx-ms-meta-mastfs_tag: t1\r\n")},
	 head},
	{"azure-peek", "az://acc/cont/p", {FIVE, BLOB("5", "")}, peek},
	{"azure-get", "az://acc/cont", {FIVE}, get},
	{"azure-put", "az://acc/cont/p", {MADE}, put},
	{"azure-del", "az://acc/cont", {ANSWER("202", "")}, del},
	{"azure-list",
	 "az://acc/cont/p",
	 {PAGE("<Blob><Name>p/d/a</Name><Properties><Content-Length>1</Content-Length>"
	       "<Etag>0x3</Etag><Last-Modified>Fri, 24 May 2013 00:00:01 GMT"
	       "</Last-Modified></Properties></Blob>"
	       "<BlobPrefix><Name>p/d/s/</Name></BlobPrefix>",
	       "next")},
	 list},
	{"azure-copy",
	 "az://acc/cont",
	 {ANSWER("202", COPY("success")), BLOB("5", "")},
	 copy},
	{"azure-blocks", "az://acc/cont", {MADE, MADE, BLOB("5", "")}, blocks},
	{"azure-blocks-left",
	 "az://acc/cont",
	 {ANSWER("400", CODE("InvalidBlobOrBlock")),
	  XML("<BlockList><UncommittedBlocks><Block><Name>MDAwMDAwMDAw</Name>"
	      "<Size>6</Size></Block></UncommittedBlocks></BlockList>"),
	  MADE, MADE, BLOB("5", "")},
	 blocks},
	{"azure-rename",
	 "az://acc/cont/p",
	 {ANSWER("404", CODE("RenameDestinationParentPathNotFound")), MADE, MADE},
	 move},
};

int main(int argc, char **argv)
{
	static const char *const env[] = {
		"AZURE_STORAGE_CONNECTION_STRING=DefaultEndpointsProtocol=https;"
		"AccountName=acc;AccountKey=" SECRET ";EndpointSuffix=core.windows.net",
		NULL};
	nth_start(argc, argv);
	set_environment(env);
	canned_sweeps(azure_open, ops, sizeof(ops) / sizeof(*ops));
	return nth_end();
}
