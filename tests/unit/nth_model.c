/* nth_model.c - see nth_model.h. */
#include "tests/unit/nth_model.h"
#include <string.h>
#include "tests/unit/check.h"
#include "backends/util/banned.h"

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* A name that was never heard of does not exist. */
struct model_name *model_name(struct model *m, const char *path)
{
	for (size_t i = 0; i < m->n; i++)
		if (!strcmp(m->names[i].path, path))
			return &m->names[i];
	CHECK(m->n < MODEL_NAMES);
	m->names[m->n] = (struct model_name){.path = path, .n = 1};
	return &m->names[m->n++];
}

static bool has(const struct model_name *name, const char *text)
{
	for (size_t i = 0; i < name->n; i++)
		if (same(name->texts[i], text))
			return true;
	return false;
}

static void add(struct model_name *name, const char *text)
{
	if (has(name, text))
		return;
	CHECK(name->n < MODEL_TEXTS);
	name->texts[name->n++] = text;
}

/* What was to be at either of two names counts until one of them is changed again. */
static void forget_either(struct model *m, const char *path)
{
	size_t n = 0;
	for (size_t i = 0; i < m->n_either; i++)
		if (strcmp(m->either[i].from, path) && strcmp(m->either[i].to, path))
			m->either[n++] = m->either[i];
	m->n_either = n;
}

void model_set(struct model *m, const char *path, const char *text, int r)
{
	struct model_name *name = model_name(m, path);
	forget_either(m, path);
	if (!r)
		name->n = 0;
	add(name, text);
}

void model_rename(struct model *m, const char *from, const char *to, int r)
{
	struct model_name *a = model_name(m, from), *b = model_name(m, to);
	forget_either(m, from);
	forget_either(m, to);
	if (r && a->n == 1 && a->texts[0]) {
		CHECK(m->n_either < MODEL_NAMES);
		m->either[m->n_either].from = from;
		m->either[m->n_either].to = to;
		m->either[m->n_either++].text = a->texts[0];
	}
	if (!r)
		b->n = 0;
	/* It succeeded: there was something. */
	for (size_t i = 0; i < a->n; i++)
		if (a->texts[i])
			add(b, a->texts[i]);
	if (!r)
		a->n = 0;
	add(a, NULL);
}

bool model_may(struct model *m, const char *path, const char *text)
{
	return has(model_name(m, path), text);
}

bool model_must_not_be(struct model *m, const char *path)
{
	const struct model_name *name = model_name(m, path);
	return name->n == 1 && !name->texts[0];
}

bool model_must_be(struct model *m, const char *path)
{
	return !has(model_name(m, path), NULL);
}
