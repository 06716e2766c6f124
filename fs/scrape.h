/* scrape.h - the figures where Prometheus looks for them: a file for node_exporter's
 * textfile collector, or a port on loopback.
 */
#ifndef FS_SCRAPE_H
#define FS_SCRAPE_H
#include <stdbool.h>
#include "backends/util/buf.h"

/* What the option metrics asks for.  Zero: nothing. */
struct scrape {
	const char *file; /* borrowed; NULL = none */
	int door;	  /* listens; owned until it is taken; -1 = none */
	bool written;	  /* the file is there, and ours */
	bool failing;	  /* it was said that it cannot be written */
};

/* "/file" or "127.0.0.1:PORT" or "[::1]:PORT"; NULL: nothing.  The port is bound, the
 * file's directory looked at.  Logs. */
int scrape_open(const char *metrics, struct scrape *ret);
/* Replace the file in one step.  One warning for each time that it begins to fail. */
void scrape_write(struct scrape *s, const struct buf *text);
/* The file goes: nobody keeps it up to date. */
void scrape_done(struct scrape *s);

/* What a request that ends with SCRAPE_END is answered with: text for GET /metrics. */
#define SCRAPE_END "\r\n\r\n"
void scrape_answer(const char *request, const struct buf *text, struct buf *ret);
#endif
