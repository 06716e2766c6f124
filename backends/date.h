/* date.h - the ways in which stores write a time.  Pure.
 *
 * Times are nanoseconds since the epoch, UTC.
 */
#ifndef BACKENDS_DATE_H
#define BACKENDS_DATE_H
#include <stdint.h>

enum { DATE_AMZ_SIZE = 17, DATE_ISO_SIZE = 40, DATE_HTTP_SIZE = 40 };

/* "Mon, 23 Nov 2026 20:48:37 GMT".  -EBADMSG. */
int date_parse_http(const char *s, int64_t *ret_ns);
/* "2026-11-23T20:48:37.123Z", the fraction optional; "+01:00" is as good as "Z".
 * -EBADMSG. */
int date_parse_iso(const char *s, int64_t *ret_ns);
/* "1764000000.123456789": decimal seconds, up to nine digits of fraction.  -EBADMSG. */
int date_parse_seconds(const char *s, int64_t *ret_ns);
/* "20261123T204837Z" */
void date_format_amz(int64_t ns, char ret[static DATE_AMZ_SIZE]);
/* "2026-11-23T20:48:37.123456789Z": always nine digits. */
void date_format_iso(int64_t ns, char ret[static DATE_ISO_SIZE]);
/* "Mon, 23 Nov 2026 20:48:37 GMT" */
void date_format_http(int64_t ns, char ret[static DATE_HTTP_SIZE]);
/* "1764000000.123456789" */
void date_format_seconds(int64_t ns, char ret[static DATE_ISO_SIZE]);
#endif
