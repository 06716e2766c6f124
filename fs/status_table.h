/* status_table.h - the rows of status.h's table, for what shows them.  Nobody else
 * includes this. */
#ifndef FS_STATUS_TABLE_H
#define FS_STATUS_TABLE_H
#include <stddef.h>
#include "fs/status.h"

enum status_kind {
	STATUS_TEXT,
	STATUS_NAMES,	/* struct status_names */
	STATUS_LATENCY, /* struct latency, without recent_ns */
	/* uint64_t: */
	STATUS_FLAG,  /* 0 or 1 */
	STATUS_GAUGE, /* as it is now */
	STATUS_TIME,  /* the same, ns; shown in seconds */
	STATUS_TOTAL, /* only grows */
};

struct status_row {
	const char *name;
	enum status_kind kind;
	size_t offset, size; /* of its field */
	const char *meaning;
};

/* Ends with name NULL. */
extern const struct status_row status_rows[];

const void *status_field(const struct status_row *row, const struct status *s);
uint64_t status_number(const struct status_row *row, const struct status *s);
void status_add_seconds(struct buf *ret, uint64_t ns);
/* The upper bound of a latency's bucket, in seconds: "0.005", the last "+Inf". */
void status_add_bound(struct buf *ret, int bucket);
#endif
