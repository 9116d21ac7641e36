/* What the sinks' parking shares: entries to and from the texts that SQL takes and gives. */
#include "consumer/sink_impl.h"
#include "core/pg.h"
#include "core/quote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void
put_text(struct buf *out, const char *name, const char *text)
{
	buf_printf(out, ",\"%s\":", name);
	if (text)
		quote_json(out, slice_of(text));
	else
		buf_text(out, "null");
}

static void
put_number(struct buf *out, const char *name, int64_t v)
{
	buf_printf(out, ",\"%s\":%" PRId64, name, v);
}

static void
put_entry(const struct parked_entry *e, bool lsn_text, struct buf *out)
{
	char id[PARKED_ID_TEXT], lsn[20];
	const char op[2] = { e->op, '\0' };

	buf_printf(out, "{\"id\":%" PRId64, e->id);
	put_text(out, "topic", e->topic);
	put_number(out, "topic_partition", e->partition);
	put_number(out, "topic_offset", e->offset);
	put_number(out, "from_partition", e->from_partition);
	put_number(out, "from_offset", e->from_offset);
	put_number(out, "copy_offset", e->copy);
	put_number(out, "from_copy", e->from_copy);
	put_text(out, "src_schema", e->schema);
	put_text(out, "src_table", e->table);
	put_text(out, "key", e->key);
	put_text(out, "key_hash", e->ids.n > 0 ? parked_id_text(id, e->ids.id[0]) : NULL);
	put_text(out, "to_hash", e->ids.n > 1 ? parked_id_text(id, e->ids.id[1]) : NULL);
	put_text(out, "op", op);
	put_number(out, "seq", (int64_t)e->seq);
	put_number(out, "idx", (int64_t)e->index);
	if (lsn_text)
		put_text(out, "lsn", pg_lsn_text(lsn, e->lsn));
	else
		put_number(out, "lsn", (int64_t)e->lsn);
	put_text(out, "reason", e->reason);
	if (e->behind)
		put_number(out, "waits_behind", e->behind);
	else
		put_text(out, "waits_behind", NULL);
	buf_byte(out, '}');
}

void
park_json(const struct parked_entry *e, int n, bool lsn_text, struct buf *out)
{
	buf_reset(out);
	for (int i = 0; i < n; i++) {
		buf_byte(out, i ? ',' : '[');
		put_entry(&e[i], lsn_text, out);
	}
	buf_text(out, n ? "]" : "[]");
}

void
park_ids_json(const int64_t *ids, int n, struct buf *out)
{
	buf_reset(out);
	for (int i = 0; i < n; i++)
		buf_printf(out, "%c%" PRId64, i ? ',' : '[', ids[i]);
	buf_text(out, n ? "]" : "[]");
}

static int64_t
number(const char *text)
{
	return text ? strtoll(text, NULL, 10) : 0;
}

static const char *
copy(struct arena *a, const char *text)
{
	return arena_text(a, slice_of(text ? text : ""));
}

static void
take_ids(const char *one, const char *two, struct parked_ids *out)
{
	out->n = 0;
	if (one && parked_id_parse(one, &out->id[0]))
		out->n = 1;
	if (out->n && two && parked_id_parse(two, &out->id[1]))
		out->n = 2;
}

void
park_entry(const char *const cells[PARKED_CELLS], struct arena *a, struct parked_entry *out)
{
	*out = (struct parked_entry){ .id = number(cells[0]),
		.topic = copy(a, cells[1]),
		.partition = (int32_t)number(cells[2]),
		.offset = number(cells[3]),
		.from_partition = (int32_t)number(cells[4]),
		.from_offset = number(cells[5]),
		.copy = number(cells[6]),
		.from_copy = number(cells[7]),
		.schema = copy(a, cells[8]),
		.table = copy(a, cells[9]),
		.key = cells[10] ? copy(a, cells[10]) : NULL,
		.op = cells[13] ? *cells[13] : '?',
		.seq = (uint64_t)number(cells[14]),
		.index = (uint64_t)number(cells[15]),
		.lsn = (uint64_t)number(cells[16]),
		.reason = copy(a, cells[17]),
		.behind = number(cells[18]),
		.parked_us = number(cells[19]) };
	take_ids(cells[11], cells[12], &out->ids);
}

void
park_key(const char *const cells[PARKED_KEY_CELLS], struct parked *set)
{
	struct parked_ids ids;

	take_ids(cells[0], cells[1], &ids);
	parked_add(set, slice_of(cells[2]), slice_of(cells[3]), &ids, number(cells[4]));
	set->entries += number(cells[5]);
}

void
park_params(const char *pipeline, const struct parked_query *q, struct park_params *out)
{
	const int64_t v[PARKED_PARAMS] = { 0, q->after, q->id, 0, 0, q->moved, q->limit };

	for (int i = 0; i < PARKED_PARAMS; i++) {
		snprintf(out->numbers[i], sizeof out->numbers[i], "%" PRId64, v[i]);
		out->values[i] = out->numbers[i];
	}
	out->values[0] = pipeline;
	out->values[3] = q->schema ? q->schema : "";
	out->values[4] = q->table ? q->table : "";
}

const char *
park_base(const char *pipeline, struct arena *a)
{
	return arena_text(a, (struct slice){ pipeline, strcspn(pipeline, "/") });
}

const char **
names_params(const struct sink *s, struct slice schema, struct slice table, const struct names_at *at, const char *names, struct arena *a)
{
	const char **params = arena_array(a, NAMES_PARAMS, sizeof *params);

	params[0] = park_base(s->pipeline, a);
	params[1] = arena_text(a, schema);
	params[2] = arena_text(a, table);
	params[3] = arena_printf(a, "%" PRIu64, at->seq);
	params[4] = arena_printf(a, "%" PRIu64, at->index);
	params[5] = names;
	return params;
}

void
position_json(const struct position *p, int n, struct buf *out)
{
	buf_reset(out);
	buf_byte(out, '[');
	for (int i = 0; i < n; i++) {
		buf_text(out, i ? ",{\"topic\":" : "{\"topic\":");
		quote_json(out, slice_of(p[i].topic));
		put_number(out, "topic_partition", p[i].partition);
		put_number(out, "next_offset", p[i].next);
		put_number(out, "value_id", p[i].value_id);
		buf_byte(out, '}');
	}
	buf_byte(out, ']');
}
