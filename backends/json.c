/* json.c - see json.h. */
#include "backends/json.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "backends/util/banned.h"

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

int json_get_object(const char *text, size_t n, const char *name, struct secret *ret)
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
	} else if (json_is_object(member)) {
		char *inner = json_dumps(member, JSON_COMPACT);
		r = inner ? secret_set(ret, inner, strlen(inner)) : -ENOMEM;
		if (inner)
			crypto_wipe(inner, strlen(inner));
		free(inner);
	}
	json_decref(root);
	return r;
}
