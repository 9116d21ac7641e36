#include "producer/pgoutput.h"
#include "core/cursor.h"

static void
take_tuple(struct cursor *c, struct arena *a, struct pgo_tuple *t)
{
	int n = cursor_be16(c);

	/* A cell is at least its kind. */
	if ((size_t)n > cursor_left(c)) {
		c->bad = true;
		return;
	}
	t->n = n;
	t->cells = arena_raw(a, (size_t)n * sizeof *t->cells);
	for (int i = 0; i < n; i++) {
		struct pgo_cell *cell = &t->cells[i];

		cell->kind = (char)cursor_u8(c);
		cell->data = (struct slice){ "", 0 };
		if (cell->kind == 't' || cell->kind == 'b')
			cell->data = cursor_bytes(c, cursor_be32(c));
		else if (cell->kind != 'n' && cell->kind != 'u')
			c->bad = true;
	}
}

static void
take_relation(struct cursor *c, struct arena *a, struct pgo *m)
{
	m->relid = cursor_be32(c);
	m->schema = cursor_cstr(c);
	if (m->schema.n == 0)
		m->schema = SLICE_LIT("pg_catalog");
	m->name = cursor_cstr(c);
	m->identity = (char)cursor_u8(c);
	m->ncols = cursor_be16(c);
	/* flags, an empty name, type and typmod */
	if ((size_t)m->ncols > cursor_left(c) / 10) {
		c->bad = true;
		return;
	}
	m->cols = arena_array(a, (size_t)m->ncols, sizeof *m->cols);
	for (int i = 0; i < m->ncols; i++) {
		m->cols[i].flags = cursor_u8(c);
		m->cols[i].name = cursor_cstr(c);
		m->cols[i].typid = cursor_be32(c);
		m->cols[i].typmod = (int32_t)cursor_be32(c);
	}
}

/* The rows of I, U and D: [K|O tuple] [N tuple]. */
static void
take_rows(struct cursor *c, struct arena *a, struct pgo *m)
{
	char kind;

	m->relid = cursor_be32(c);
	kind = (char)cursor_u8(c);
	if (m->type != 'I' && (kind == 'K' || kind == 'O')) {
		m->old_kind = kind;
		take_tuple(c, a, &m->old);
		if (m->type == 'D')
			return;
		kind = (char)cursor_u8(c);
	}
	if (m->type == 'D' || kind != 'N')
		c->bad = true;
	else
		take_tuple(c, a, &m->new);
}

static void
take_truncate(struct cursor *c, struct arena *a, struct pgo *m)
{
	uint32_t n = cursor_be32(c);

	m->flags = cursor_u8(c);
	if (n > cursor_left(c) / 4) {
		c->bad = true;
		return;
	}
	m->nrels = (int)n;
	m->rels = arena_array(a, n, sizeof *m->rels);
	for (uint32_t i = 0; i < n; i++)
		m->rels[i] = cursor_be32(c);
}

enum rc
pgo_parse(struct slice msg, struct arena *a, struct pgo *m, struct err *err)
{
	struct cursor c = cursor_of(msg);

	*m = (struct pgo){ .type = (char)cursor_u8(&c) };
	switch (m->type) {
	case 'B':
		m->lsn = cursor_be64(&c);
		m->time_us = (int64_t)(cursor_be64(&c) + (uint64_t)PG_EPOCH_US);
		m->xid = cursor_be32(&c);
		break;
	case 'C':
		m->flags = cursor_u8(&c);
		m->lsn = cursor_be64(&c);
		m->end_lsn = cursor_be64(&c);
		m->time_us = (int64_t)(cursor_be64(&c) + (uint64_t)PG_EPOCH_US);
		break;
	case 'O':
		m->lsn = cursor_be64(&c);
		m->name = cursor_cstr(&c);
		break;
	case 'R':
		take_relation(&c, a, m);
		break;
	case 'Y':
		m->relid = cursor_be32(&c);
		m->schema = cursor_cstr(&c);
		m->name = cursor_cstr(&c);
		break;
	case 'I':
	case 'U':
	case 'D':
		take_rows(&c, a, m);
		break;
	case 'T':
		take_truncate(&c, a, m);
		break;
	case 'M':
		m->flags = cursor_u8(&c);
		m->lsn = cursor_be64(&c);
		m->name = cursor_cstr(&c);
		m->content = cursor_bytes(&c, cursor_be32(&c));
		break;
	default:
		return fail(err, REJECT, "pgoutput: unknown message type 0x%02x", (unsigned char)m->type);
	}
	if (c.bad || cursor_left(&c))
		return fail(err, REJECT, "pgoutput: malformed '%c' message of %zu bytes", m->type, msg.n);
	return OK;
}
