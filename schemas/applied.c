#include "schemas/applied.h"

#include <inttypes.h>
#include <jansson.h>

enum { VERSION = 1 };

void
applied_put(struct buf *out, const struct applied *a)
{
	buf_printf(out, "{\"v\":%d,\"gen\":%" PRIu64 ",\"token\":%" PRIu64 ",\"no\":%" PRIu64 "}", VERSION, a->gen, a->token, a->no);
}

static bool
number(const json_t *o, const char *name, uint64_t *out)
{
	const json_t *v = json_object_get(o, name);

	*out = (uint64_t)json_integer_value(v);
	return json_is_integer(v) && json_integer_value(v) >= 0;
}

enum rc
applied_take(struct slice json, struct applied *out, struct err *err)
{
	json_t *o = json_loadb(json.p, json.n, 0, NULL);
	bool good = json_integer_value(json_object_get(o, "v")) == VERSION && number(o, "gen", &out->gen) &&
	    number(o, "token", &out->token) && number(o, "no", &out->no);

	json_decref(o);
	return good ? OK : fail(err, REJECT, "a record of what a sink has applied makes no sense");
}
