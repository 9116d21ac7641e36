#include "schemas/topic.h"
#include "core/buf.h"
#include "core/pattern.h"

#include <assert.h>

enum { TOPIC_MAX = 249 };

/*
 * Anything Kafka does not take becomes one _ for each UTF-16 unit, since that is what Debezium
 * counts in: a character of up to three UTF-8 bytes is one unit, one of four bytes is two.
 */
static void
put_legal(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    c == '.' || c == '_' || c == '-')
			buf_byte(out, c);
		else if (c < 0x80 || c >= 0xc0)
			buf_text(out, c >= 0xf0 ? "__" : "_");
	}
}

static const char *
take(struct arena *a, struct buf *b)
{
	char *text = arena_text(a, (struct slice){ b->p, b->n < TOPIC_MAX ? b->n : TOPIC_MAX });

	buf_free(b);
	return text;
}

/* glob: a * for any schema and any table, in place of those. */
static void
fill(struct buf *out, const char *tmpl, const char *name, struct slice schema, struct slice table, bool glob)
{
	const struct {
		struct slice mark, text;
		bool any;
	} parts[] = {
		{ SLICE_LIT("{name}"), slice_of(name), false },
		{ SLICE_LIT("{schema}"), schema, glob },
		{ SLICE_LIT("{table}"), table, glob },
	};

	for (const char *p = tmpl; *p;) {
		size_t i = 0;

		while (i < COUNTOF(parts) && strncmp(p, parts[i].mark.p, parts[i].mark.n) != 0)
			i++;
		if (i < COUNTOF(parts) && parts[i].any)
			buf_byte(out, '*');
		else
			put_legal(out, i < COUNTOF(parts) ? parts[i].text : (struct slice){ p, 1 });
		p += i < COUNTOF(parts) ? parts[i].mark.n : 1;
	}
}

const char *
topic_name(
    struct arena *a, const char *tmpl, const char *name, struct slice schema, struct slice table)
{
	struct buf b = { 0 };

	fill(&b, tmpl, name, schema, table, false);
	return take(a, &b);
}

const char *
topic_table(struct arena *a, const struct conf *conf, struct slice schema, struct slice table)
{
	struct slice own = conf_of_table(conf->topics, schema, table);

	return topic_name(a, own.n ? arena_text(a, own) : conf->topic, conf->name, schema, table);
}

static bool
fits(const char *tmpl, const char *name, const char *topic)
{
	struct buf b = { 0 };
	bool yes;

	fill(&b, tmpl, name, SLICE_LIT(""), SLICE_LIT(""), true);
	yes = pattern_glob(buf_view(&b), slice_of(topic));
	buf_free(&b);
	return yes;
}

bool
topic_fits_table(const struct conf *conf, const char *topic)
{
	struct arena a = { 0 };
	bool yes = fits(conf->topic, conf->name, topic);

	for (const char *p = conf->topics; p && *p && !yes; p += *p == '\n') {
		struct slice line = { p, strcspn(p, "\n") };
		const char *equal = memchr(p, '=', line.n);

		p += line.n;
		yes = equal && fits(arena_text(&a, (struct slice){ equal + 1, (size_t)(p - equal - 1) }), conf->name, topic);
	}
	arena_free(&a);
	return yes;
}

const char *
topic_own(struct arena *a, const char *name, const char *what)
{
	struct buf b = { 0 };

	put_legal(&b, slice_of(name));
	buf_text(&b, ".towline.");
	put_legal(&b, slice_of(what));
	return take(a, &b);
}

uint32_t
topic_murmur2(struct slice key)
{
	const uint32_t m = 0x5bd1e995;
	const uint8_t *p = (const uint8_t *)key.p;
	uint32_t h = 0x9747b28c ^ (uint32_t)key.n;
	size_t n = key.n;

	for (; n >= 4; n -= 4, p += 4) {
		uint32_t k = __builtin_bswap32(be32(p)) * m;

		k ^= k >> 24;
		h = h * m ^ k * m;
	}
	if (n > 2)
		h ^= (uint32_t)p[2] << 16;
	if (n > 1)
		h ^= (uint32_t)p[1] << 8;
	if (n > 0)
		h = (h ^ p[0]) * m;
	h ^= h >> 13;
	h *= m;
	return h ^ h >> 15;
}

int
topic_partition(struct slice key, int partitions)
{
	assert(partitions > 0);
	return (int)((topic_murmur2(key) & 0x7fffffff) % (uint32_t)partitions);
}
