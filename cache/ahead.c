/* ahead.c - see ahead.h. */
#include "cache/ahead.h"
#include "backends/util/banned.h"

void ahead_learnt(struct version *v)
{
	(void)v;
}
