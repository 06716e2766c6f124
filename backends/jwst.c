/* jwst.c - see jwst.h.
 *
 * A name is read from both ends: extension, "_thumb" and suffix are cut off its end,
 * and what is left, the root, is read from its start.  A root is not NUL-terminated. */
#include "backends/jwst.h"
#include <stdint.h>
#include <string.h>
#include "backends/util/banned.h"

/* --- reading from the start --- */

struct scan {
	const char *p, *end;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_alnum(char c)
{
	return is_digit(c) || is_lower(c);
}

static bool is_word(char c)
{
	return is_alnum(c) || c == '-';
}

static bool is_optics(char c)
{
	return is_word(c) || c == '_';
}

/* As many as there are, at least min and at most max. */
static bool take(struct scan *s, bool (*is)(char), size_t min, size_t max)
{
	size_t n = 0;
	while (n < max && s->p + n < s->end && is(s->p[n]))
		n++;
	s->p += n;
	return n >= min;
}

static bool take_text(struct scan *s, const char *text)
{
	size_t n = strlen(text);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, text, n) != 0)
		return false;
	s->p += n;
	return true;
}

static bool at_end(const struct scan *s)
{
	return s->p == s->end;
}

/* Nothing is taken where it fails. */
static bool try(struct scan *s, bool (*part)(struct scan *s))
{
	struct scan ahead = *s;
	if (!part(&ahead))
		return false;
	*s = ahead;
	return true;
}

static struct jwst_part since(const char *start, const struct scan *s)
{
	return (struct jwst_part){start, (size_t)(s->p - start)};
}

/* --- parts of a root --- */

/* o001, c1002, a3001, r0001: an observation or a candidate. */
static bool candidate(struct scan *s)
{
	bool known = take_text(s, "o") || take_text(s, "c") || take_text(s, "a") ||
		     take_text(s, "r");
	return known && take(s, is_digit, 3, 4) && (at_end(s) || *s->p == '_');
}

static bool candidate_after(struct scan *s)
{
	return take_text(s, "_") && candidate(s) && at_end(s);
}

static bool segment(struct scan *s)
{
	return take_text(s, "-seg") && take(s, is_digit, 3, 3);
}

static bool epoch(struct scan *s)
{
	return take_text(s, "-epoch") && take(s, is_digit, 1, 9);
}

/* s000000123: a source, b: background, v: virtual slit. */
static bool source(struct scan *s)
{
	bool known = take_text(s, "s") || take_text(s, "b") || take_text(s, "v");
	return known && take(s, is_digit, 5, 9);
}

static bool source_after(struct scan *s)
{
	return take_text(s, "-") && source(s);
}

static bool target(struct scan *s)
{
	if (try(s, source))
		return true;
	if (!take_text(s, "t") || !take(s, is_digit, 3, 3))
		return false;
	(void)try(s, source_after);
	return true;
}

static bool program(struct scan *s, struct jwst_name *ret)
{
	const char *start = s->p + 2;
	if (!take_text(s, "jw") || !take(s, is_digit, 5, 5))
		return false;
	ret->program = since(start, s);
	return true;
}

static bool visit(struct scan *s, struct jwst_name *ret)
{
	if (!program(s, ret) || !take(s, is_digit, 6, 6))
		return false;
	ret->visit = since(ret->program.s, s);
	return true;
}

static bool group(struct scan *s, struct jwst_name *ret)
{
	if (!program(s, ret) || !take_text(s, "-"))
		return false;
	const char *start = s->p;
	if (!candidate(s))
		return false;
	ret->group = since(start, s);
	return true;
}

static bool timestamp(struct scan *s)
{
	return take(s, is_digit, 8, 8) && (take_text(s, "t") || take_text(s, "T")) &&
	       take(s, is_digit, 6, 6);
}

static bool visit_number(struct scan *s)
{
	return take_text(s, "_") && take(s, is_digit, 3, 3) && !at_end(s) && *s->p == '_';
}

/* --- roots --- */

/* jw02731001001_02101_00001-seg001_nrcb1; a candidate after it is none of the obs_id. */
static bool exposure(struct scan *s, struct jwst_name *ret)
{
	const char *start = s->p;
	if (!visit(s, ret) || !take_text(s, "_") || !take(s, is_digit, 3, 3) ||
	    !take(s, is_alnum, 2, 2) || !take_text(s, "_") || !take(s, is_digit, 5, 5))
		return false;
	(void)try(s, segment);
	if (!take_text(s, "_") || !take(s, is_alnum, 1, SIZE_MAX))
		return false;
	ret->obs_id = since(start, s);
	return true;
}

/* jw02733-o001_t001_nircam_clear-f200w */
static bool combined(struct scan *s, struct jwst_name *ret)
{
	const char *start = s->p;
	if (!group(s, ret) || !take_text(s, "_") || !target(s))
		return false;
	(void)try(s, epoch);
	if (!take_text(s, "_") || !take(s, is_lower, 1, SIZE_MAX) || !take_text(s, "_"))
		return false;
	if (!take(s, is_optics, 1, SIZE_MAX) || s->p[-1] == '_')
		return false;
	ret->obs_id = since(start, s);
	return true;
}

/* jw01234-o001_20240101t000000_image3_00001 */
static bool association(struct scan *s, struct jwst_name *ret)
{
	const char *start = s->p;
	if (!group(s, ret) || !take_text(s, "_") || !timestamp(s) || !take_text(s, "_") ||
	    !take(s, is_word, 1, SIZE_MAX) || !take_text(s, "_") ||
	    !take(s, is_digit, 3, 5))
		return false;
	ret->obs_id = since(start, s);
	return true;
}

/* jw01234_20240101t000000 */
static bool pool(struct scan *s, struct jwst_name *ret)
{
	const char *start = s->p;
	if (!program(s, ret))
		return false;
	(void)try(s, visit_number);
	if (!take_text(s, "_") || !timestamp(s))
		return false;
	ret->obs_id = since(start, s);
	return true;
}

/* jw01234001001_gs-fg_2024001000000 */
static bool guide_star(struct scan *s, struct jwst_name *ret)
{
	const char *start = s->p;
	if (!visit(s, ret) || !take_text(s, "_gs-"))
		return false;
	if (!take_text(s, "id") && !take_text(s, "acq1") && !take_text(s, "acq2") &&
	    !take_text(s, "track") && !take_text(s, "fg"))
		return false;
	if (!take_text(s, "_") || !take(s, is_digit, 1, SIZE_MAX))
		return false;
	ret->obs_id = since(start, s);
	return true;
}

/* --- names --- */

static bool part_is(struct jwst_part part, const char *text)
{
	return part.len == strlen(text) && !memcmp(part.s, text, part.len);
}

static bool part_is_one_of(struct jwst_part part, const char *const *texts)
{
	for (; *texts; texts++)
		if (part_is(part, *texts))
			return true;
	return false;
}

static const char *const exposure_ext[] = {"fits", "jpg", "ecsv", "json", "asdf", NULL};
static const char *const combined_ext[] = {"fits", "jpg", "ecsv", NULL};
static const char *const association_ext[] = {"json", NULL};
static const char *const association_suffix[] = {"asn", NULL};
static const char *const pool_ext[] = {"csv", NULL};
static const char *const pool_suffix[] = {"pool", NULL};
static const char *const guide_star_ext[] = {"fits", "jpg", NULL};
static const char *const guide_star_suffix[] = {
	"uncal", "cal", "image-uncal", "image-cal", "stacked-uncal", "stacked-cal", NULL};

/* No root is one of two forms, so the order does not matter. */
static const struct form {
	enum jwst_form form;
	bool (*root)(struct scan *s, struct jwst_name *ret);
	bool is_obs; /* observations have a directory of that name */
	bool previews;
	const char *const *suffixes; /* NULL = any */
	const char *const *exts;
} forms[] = {
	{JWST_EXPOSURE, exposure, true, true, NULL, exposure_ext},
	{JWST_GUIDE_STAR, guide_star, true, true, guide_star_suffix, guide_star_ext},
	{JWST_ASSOCIATION, association, false, false, association_suffix,
	 association_ext},
	{JWST_POOL, pool, false, false, pool_suffix, pool_ext},
	{JWST_COMBINED, combined, true, true, NULL, combined_ext},
};
enum { N_FORMS = sizeof forms / sizeof *forms };

/* A name taken apart from its end. */
struct file {
	struct scan root;
	struct jwst_part suffix, ext;
	bool thumb;
};

static const char *last(const char *start, const char *end, char c)
{
	while (end > start)
		if (*--end == c)
			return end;
	return NULL;
}

static bool split(const char *name, struct file *ret)
{
	const char *end = name + strlen(name);
	const char *dot = last(name, end, '.');
	if (!dot)
		return false;
	ret->ext = (struct jwst_part){dot + 1, (size_t)(end - dot - 1)};

	static const char thumb[] = "_thumb";
	size_t n = sizeof thumb - 1;
	ret->thumb = (size_t)(dot - name) > n && !memcmp(dot - n, thumb, n);
	const char *stem_end = ret->thumb ? dot - n : dot;
	const char *bar = last(name, stem_end, '_');
	if (!bar)
		return false;
	struct scan s = {bar + 1, stem_end};
	if (!take(&s, is_word, 1, SIZE_MAX) || !at_end(&s))
		return false;
	ret->suffix = since(bar + 1, &s);
	ret->root = (struct scan){name, bar};
	return true;
}

static bool parse_as(const struct form *form, const struct file *f, struct jwst_name *ret)
{
	struct scan s = f->root;
	*ret = (struct jwst_name){.form = form->form, .suffix = f->suffix};
	if (!form->root(&s, ret) || (f->thumb && !form->previews))
		return false;
	if (form->form == JWST_EXPOSURE)
		(void)try(&s, candidate_after);
	return at_end(&s) && part_is_one_of(f->ext, form->exts) &&
	       (!form->suffixes || part_is_one_of(f->suffix, form->suffixes));
}

void jwst_parse(const char *name, struct jwst_name *ret)
{
	struct file f;
	if (split(name, &f))
		for (size_t i = 0; i < N_FORMS; i++)
			if (parse_as(&forms[i], &f, ret))
				return;
	*ret = (struct jwst_name){.form = JWST_NONE};
}

void jwst_parse_obs_id(const char *name, struct jwst_name *ret)
{
	for (size_t i = 0; i < N_FORMS; i++) {
		struct scan s = {name, name + strlen(name)};
		*ret = (struct jwst_name){.form = forms[i].form};
		if (forms[i].root(&s, ret) && at_end(&s) && forms[i].is_obs)
			return;
	}
	*ret = (struct jwst_name){.form = JWST_NONE};
}

/* --- levels --- */

static const char *const raw[] = {"uncal", "image-uncal", "stacked-uncal", NULL};
static const char *const calibrated[] = {
	"ramp",	    "dark", "trapsfilled", "fitopt", "rate",	"rateints", "bsub",
	"bsubints", "cal",  "calints",	   "crf",    "crfints", "psfalign", NULL};
/* Of one exposure calibrated, of several combined. */
static const char *const either[] = {"i2d", "s2d", "s3d", "x1d", "x1dints", NULL};
static const char *const of_several[] = {
	"c1d",	  "cat",   "segm",	  "phot",	"whtlt",  "psfstack", "psfsub",
	"ami-oi", "amilg", "amimulti-oi", "aminorm-oi", "wfscmb", NULL};

/* Several of a kind are numbered: i2d-02. */
static struct jwst_part without_number(struct jwst_part part)
{
	if (part.len > 3 && part.s[part.len - 3] == '-' &&
	    is_digit(part.s[part.len - 2]) && is_digit(part.s[part.len - 1]))
		part.len -= 3;
	return part;
}

static bool is_preview(const char *name)
{
	size_t n = strlen(name);
	return n > 4 && !strcmp(name + n - 4, ".jpg");
}

enum jwst_level jwst_level(const char *name)
{
	struct jwst_name parsed;
	jwst_parse(name, &parsed);
	bool several = parsed.form == JWST_COMBINED;
	/* Guide stars of any suffix are small and needed to find the rest. */
	if ((parsed.form != JWST_EXPOSURE && !several) || is_preview(name))
		return JWST_ANCILLARY;
	struct jwst_part suffix = without_number(parsed.suffix);
	if (part_is_one_of(suffix, raw))
		return JWST_RAW;
	if (part_is_one_of(suffix, calibrated))
		return JWST_CALIBRATED;
	if (part_is_one_of(suffix, either))
		return several ? JWST_COMBINED_LEVEL : JWST_CALIBRATED;
	if (several && part_is_one_of(suffix, of_several))
		return JWST_COMBINED_LEVEL;
	return JWST_ANCILLARY;
}
