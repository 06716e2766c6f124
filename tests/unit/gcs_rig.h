/* gcs_rig.h - a Google backend at a canned server, and what that answers. */
#ifndef TESTS_UNIT_GCS_RIG_H
#define TESTS_UNIT_GCS_RIG_H
#include "backends/gcs.h"
#include "backends/gcs_request.h"
#include "tests/unit/canned.h"
#include "tests/unit/check.h"

#define OK(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
/* crc32c of "123456789" */
#define NINE_CRC "4waSgw=="
#define NINE(generation)                                                    \
	OK("{\"kind\":\"storage#object\",\"name\":\"p/k\",\"size\":\"9\","  \
	   "\"generation\":\"" generation "\",\"crc32c\":\"" NINE_CRC "\"," \
	   "\"updated\":\"2013-05-24T00:00:01.5Z\"}")
#define ERROR(status, reason, message)                                     \
	"HTTP/1.1 " status " X\r\nConnection: close\r\n\r\n"               \
	"{\"error\":{\"code\":1,\"message\":\"" message "\",\"errors\":[{" \
	"\"reason\":\"" reason "\"}]}}"

#define ITEM(name)  "{\"name\":\"" name "\",\"size\":\"3\",\"generation\":\"1\"}"
#define PAGE(rest)  OK("{\"kind\":\"storage#objects\"" rest "}")
#define ITEMS(list) ",\"items\":[" list "]"

static inline struct backend *open_at(const struct server *s)
{
	struct backend *be;
	char endpoint[64];
	(void)snprintf(endpoint, sizeof endpoint, "%.*s", (int)(strlen(s->url) - 4),
		       s->url);
	struct backend_conf conf = {
		.url = "gs://b/p", .endpoint = endpoint, .anonymous = true};
	CHECK_EQ(gcs_open(&conf, &be), 0);
	return be;
}

#endif
