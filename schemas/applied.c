#include "schemas/applied.h"

#include "core/quote.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

enum { VERSION = 1 };

void
applied_put(struct buf *out, const struct applied *a)
{
	buf_printf(out, "{\"v\":%d,\"gen\":%" PRIu64 ",\"token\":%" PRIu64 ",\"no\":%" PRIu64, VERSION, a->gen, a->token, a->no);
	if (*a->by) {
		buf_text(out, ",\"by\":");
		quote_json(out, slice_of(a->by));
	}
	buf_byte(out, '}');
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
	const char *by = json_string_value(json_object_get(o, "by"));

	memset(out->by, 0, sizeof out->by);
	if (by)
		snprintf(out->by, sizeof out->by, "%s", by);
	json_decref(o);
	return good ? OK : fail(err, REJECT, "a record of what a sink has applied makes no sense");
}
