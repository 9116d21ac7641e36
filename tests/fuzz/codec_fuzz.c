/*
 * The first byte chooses: 0..n-1 a schema below, and the rest is a message body for it; above, the
 * rest is schema text, with a body behind its first NUL. What decodes is also encoded as array
 * text, so that values are looked at.
 */
#include "schemas/codec.h"
#include "schemas/schema.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const schemas[] = {
	/* every wire type, both branch orders */
	"{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"s.p.t\",\"fields\":["
	"{\"name\":\"before\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"Value\",\"fields\":["
	"{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"b\",\"type\":[\"null\",\"boolean\"]},"
	"{\"name\":\"i\",\"type\":[\"int\",\"null\"]},{\"name\":\"f\",\"type\":\"float\"},{\"name\":\"d\",\"type\":\"double\"},"
	"{\"name\":\"s\",\"type\":[\"null\",\"string\"]},{\"name\":\"y\",\"type\":[\"null\",\"bytes\"]},"
	"{\"name\":\"v\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"VariableScaleDecimal\",\"namespace\":\"io.debezium.data\","
	"\"fields\":[{\"name\":\"scale\",\"type\":\"int\"},{\"name\":\"value\",\"type\":\"bytes\"}],"
	"\"connect.name\":\"io.debezium.data.VariableScaleDecimal\"}]},"
	"{\"name\":\"v2\",\"type\":\"io.debezium.data.VariableScaleDecimal\"},"
	"{\"name\":\"a\",\"type\":[\"null\",{\"type\":\"array\",\"items\":[\"null\",\"int\"]}]},"
	"{\"name\":\"a2\",\"type\":{\"type\":\"array\",\"items\":\"string\"}},"
	"{\"name\":\"a3\",\"type\":{\"type\":\"array\",\"items\":[\"double\",\"null\"]}}"
	"],\"connect.name\":\"s.p.t.Value\"}]},{\"name\":\"after\",\"type\":[\"null\",\"Value\"]},"
	"{\"name\":\"source\",\"type\":{\"type\":\"record\",\"name\":\"Source\",\"fields\":[{\"name\":\"ts_ms\",\"type\":\"long\"},"
	"{\"name\":\"snapshot\",\"type\":[\"string\",\"null\"]},{\"name\":\"sequence\",\"type\":[\"null\",\"string\"]}]}},"
	"{\"name\":\"op\",\"type\":\"string\"},{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"]}],\"connect.name\":\"s.p.t.Envelope\"}",
	/*
	 * a flattened row of what is passed over: recursion, maps, enums, fixed, unions, items
	 * without bytes
	 */
	"{\"type\":\"record\",\"name\":\"R\",\"fields\":["
	"{\"name\":\"tree\",\"type\":{\"type\":\"record\",\"name\":\"T\",\"fields\":[{\"name\":\"kids\",\"type\":{\"type\":\"array\","
	"\"items\":\"T\"}},{\"name\":\"next\",\"type\":[\"null\",\"T\"]}]}},"
	"{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":{\"type\":\"map\",\"values\":\"long\"}}},"
	"{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}},"
	"{\"name\":\"x\",\"type\":[\"null\",{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}]},"
	"{\"name\":\"u\",\"type\":[\"null\",\"int\",\"string\",\"E\"]},"
	"{\"name\":\"z\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},{\"name\":\"n\",\"type\":\"null\"},"
	"{\"name\":\"q\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"Z\","
	"\"fields\":[]}}}}]}",
};

static void
use_values(const struct reader *r, const struct value *row)
{
	const struct table *t = reader_table(r);
	struct buf out = { .max = 1 << 20 };
	struct err err;

	for (int i = 0; row && i < t->ncols; i++) {
		if (row[i].kind == V_AVRO && t->cols[i].type.wire == W_ARRAY) {
			buf_reset(&out);
			(void)!reader_array_text(&t->cols[i].type, &row[i], &out, &err);
		}
		if (row[i].kind >= V_BYTES && row[i].s.n) /* readable to its end */
			assert(row[i].s.p[0] + row[i].s.p[row[i].s.n - 1] != 1000);
	}
	buf_free(&out);
}

static void
decode(const struct reader *r, struct slice body)
{
	size_t rows = 2 * (size_t)reader_table(r)->ncols * sizeof(struct value) + 64;
	struct arena a = { 0 };
	struct envelope env;
	struct value *key = NULL;
	struct err err;

	if (reader_value(r, body, &a, &env, &err) == OK) {
		use_values(r, env.before);
		use_values(r, env.after);
	}
	assert(a.used <= rows + 4 * body.n);
	if (reader_key(r, body, &a, &key, &err) == OK)
		use_values(r, key);
	arena_free(&a);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size }, json, none = { "", 0 };
	struct arena a = { 0 };
	struct reader *r;
	struct err err;
	bool fixed;

	if (size == 0)
		return 0;
	fixed = data[0] < COUNTOF(schemas);
	in.p++;
	in.n--;
	json = fixed ? slice_of(schemas[data[0]]) : in;
	if (!fixed) {
		const char *end = in.n ? memchr(in.p, 0, in.n) : NULL;

		json.n = end ? (size_t)(end - in.p) : in.n;
		in = end ? (struct slice){ end + 1, in.n - json.n - 1 } : none;
	}
	if (reader_compile(data[0] == 1 ? json : none, json, &a, &r, &err) == OK)
		decode(r, in);
	else
		assert(!fixed);
	arena_free(&a);
	return 0;
}
