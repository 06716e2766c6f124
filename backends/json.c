/* json.c - see json.h. */
#include "backends/json.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "backends/http.h"
#include "backends/util/cleanup.h"
#include "backends/util/banned.h"

static const json_t *of(const struct json *v)
{
	return (const json_t *)v;
}

int json_parse(const char *text, size_t n, struct json **ret)
{
	json_error_t error;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
	if (!root)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM
									   : -EBADMSG;
	*ret = (struct json *)root;
	return 0;
}

void json_free(struct json *v)
{
	json_decref((json_t *)v);
}

const struct json *json_member(const struct json *v, const char *name)
{
	return (const struct json *)json_object_get(of(v), name);
}

size_t json_count(const struct json *v)
{
	return json_array_size(of(v));
}

const struct json *json_at(const struct json *v, size_t i)
{
	return (const struct json *)json_array_get(of(v), i);
}

const char *json_text(const struct json *v, size_t *ret_len)
{
	if (ret_len)
		*ret_len = json_string_length(of(v));
	return json_string_value(of(v));
}

bool json_flag(const struct json *v)
{
	return of(v) && json_is_boolean(of(v)) && json_boolean_value(of(v));
}

int json_u64(const struct json *v, uint64_t *ret)
{
	const char *s = json_text(v, NULL);
	if (s)
		return http_parse_u64(s, ret);
	if (!json_is_integer(of(v)) || json_integer_value(of(v)) < 0)
		return -EBADMSG;
	*ret = (uint64_t)json_integer_value(of(v));
	return 0;
}

int json_float(const struct json *v, double *ret)
{
	if (!json_is_number(of(v)))
		return -EBADMSG;
	*ret = json_number_value(of(v));
	return 0;
}

int json_quote(struct buf *out, const char *s, size_t n)
{
	json_t *string = json_stringn(s, n);
	if (!string)
		return -EILSEQ;
	CLEANUP_FREE char *text = json_dumps(string, JSON_ENCODE_ANY);
	json_decref(string);
	if (!text)
		return -ENOMEM;
	buf_adds(out, text);
	return buf_error(out);
}

int json_get(const char *text, size_t n, const char *name, struct secret *ret)
{
	json_error_t error;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(root)) {
		json_decref(root);
		return -EBADMSG;
	}
	const json_t *member = json_object_get(root, name);
	int r = -EBADMSG;
	if (!member || json_is_null(member)) {
		r = -ENOENT;
	} else if (json_is_string(member)) {
		r = secret_set(ret, json_string_value(member),
			       json_string_length(member));
	} else if (json_is_integer(member)) {
		char digits[24];
		int len = snprintf(digits, sizeof digits, "%lld",
				   (long long)json_integer_value(member));
		r = secret_set(ret, digits, (size_t)len);
	}
	json_decref(root);
	return r;
}

int json_get_nested(const char *text, size_t n, const char *name, struct secret *ret)
{
	json_error_t error;
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(root)) {
		json_decref(root);
		return -EBADMSG;
	}
	const json_t *member = json_object_get(root, name);
	int r = -EBADMSG;
	if (!member || json_is_null(member)) {
		r = -ENOENT;
	} else if (json_is_object(member) || json_is_array(member)) {
		char *inner = json_dumps(member, JSON_COMPACT);
		r = inner ? secret_set(ret, inner, strlen(inner)) : -ENOMEM;
		if (inner)
			crypto_wipe(inner, strlen(inner));
		free(inner);
	}
	json_decref(root);
	return r;
}
