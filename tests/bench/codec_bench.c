/*
 * ns per record of the codec and of avro-c, in one run: an update with `after` only, and one with
 * both images. usage: codec_bench [records]
 */
#include "schemas/codec.h"
#include "schemas/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <avro.h>

enum { RECORDS = 1000000, RUNS = 5 };

static const struct {
	const char *name;
	enum wire wire;
	bool notnull;
} cols[] = {
	{ "id", W_INT64, true }, { "customer", W_INT32, true }, { "name", W_STRING, false },
	{ "email", W_STRING, false }, { "amount", W_DECIMAL, false }, { "created", W_INT64, false },
	{ "active", W_BOOL, true }, { "score", W_DOUBLE, false },
};

struct bench {
	struct arena a;
	struct table tbl;
	struct value row[COUNTOF(cols)];
	struct envelope env;
	struct slice json, body;
	long records;
};

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void
must(bool ok, const char *what)
{
	if (!ok)
		die("codec_bench: %s", what);
}

static void
setup(struct bench *b)
{
	static int keys[] = { 0 };
	struct err err;

	b->tbl = (struct table){ .schema = SLICE_LIT("public"), .name = SLICE_LIT("orders"), .ncols = COUNTOF(cols),
		.nkeys = 1, .keys = keys };
	b->tbl.cols = arena_array(&b->a, COUNTOF(cols), sizeof *b->tbl.cols);
	for (size_t i = 0; i < COUNTOF(cols); i++) {
		b->tbl.cols[i].name = slice_of(cols[i].name);
		b->tbl.cols[i].type = (struct wire_type){ .wire = cols[i].wire, .precision = 10, .scale = 2 };
		b->tbl.cols[i].notnull = cols[i].notnull;
		b->tbl.cols[i].typmod = -1;
	}
	b->row[0] = value_int(123456789);
	b->row[1] = value_int(4711);
	b->row[2] = value_string(SLICE_LIT("Ada Lovelace"));
	b->row[3] = value_string(SLICE_LIT("ada.lovelace@example.org"));
	b->row[4] = (struct value){ .kind = V_BYTES, .s = SLICE_LIT("\x01\x86\xa0") };
	b->row[5] = value_int(1767323045678901);
	b->row[6] = (struct value){ .kind = V_BOOL, .i = 1 };
	b->row[7] = (struct value){ .kind = V_DOUBLE, .d = 0.125 };
	b->env = (struct envelope){ .op = OP_UPDATE, .after = b->row, .version = SLICE_LIT("0.1.0"),
		.connector = SLICE_LIT("postgresql"), .name = SLICE_LIT("srv"), .db = SLICE_LIT("shop"),
		.schema = SLICE_LIT("public"), .table = SLICE_LIT("orders"), .source_us = 1767323045678901,
		.last_commit_lsn = 24023119, .lsn = 24023128, .xid = 795, .handled_us = 1767323045681234 };
	must(schema_value(SLICE_LIT("srv"), &b->tbl, &b->a, &b->json, &err) == OK, "schema");
}

static double
ours_encode(struct bench *b, struct buf *out)
{
	struct writer *w = writer_compile(&b->tbl, &b->a);
	double t = now_ns();
	struct err err;

	for (long i = 0; i < b->records; i++) {
		buf_reset(out);
		b->row[0].i++;
		must(writer_value(w, &b->env, out, &err) == OK, "encode");
	}
	return (now_ns() - t) / (double)b->records;
}

static double
ours_decode(struct bench *b)
{
	struct arena a = { 0 };
	struct reader *r;
	struct envelope env;
	struct err err;
	double t;

	must(reader_compile((struct slice){ "", 0 }, b->json, &b->a, &r, &err) == OK, "compile");
	t = now_ns();
	for (long i = 0; i < b->records; i++) {
		if (i % 1000 == 0)
			arena_reset(&a);
		must(reader_value(r, b->body, &a, &env, &err) == OK, "decode");
	}
	t = (now_ns() - t) / (double)b->records;
	arena_free(&a);
	return t;
}

/*
 * avro-c with the same data: the value is built once and only its id set anew, which is to its
 * favour.
 */
static void
theirs(struct bench *b, double *encode, double *decode)
{
	long n = b->records / 10 + 1;
	avro_schema_t schema;
	avro_value_iface_t *iface;
	avro_value_t v, image, branch, id;
	avro_reader_t in;
	avro_writer_t out;
	char *space = malloc(b->body.n);
	double t;

	must(avro_schema_from_json_length(b->json.p, b->json.n, &schema) == 0, "avro-c schema");
	iface = avro_generic_class_from_schema(schema);
	avro_generic_value_new(iface, &v);
	in = avro_reader_memory(b->body.p, (int64_t)b->body.n);
	out = avro_writer_memory(space, (int64_t)b->body.n);
	t = now_ns();
	for (long i = 0; i < n; i++) {
		avro_reader_memory_set_source(in, b->body.p, (int64_t)b->body.n);
		must(avro_value_read(in, &v) == 0, "avro-c decode");
	}
	*decode = (now_ns() - t) / (double)n;
	avro_value_get_by_name(&v, "after", &image, NULL);
	avro_value_get_current_branch(&image, &branch);
	avro_value_get_by_index(&branch, 0, &id, NULL);
	t = now_ns();
	for (long i = 0; i < n; i++) {
		avro_writer_reset(out);
		avro_value_set_long(&id, b->row[0].i - i % 8);
		must(avro_value_write(out, &v) == 0, "avro-c encode");
	}
	*encode = (now_ns() - t) / (double)n;
	avro_reader_free(in);
	avro_writer_free(out);
	avro_value_decref(&v);
	avro_value_iface_decref(iface);
	avro_schema_decref(schema);
	free(space);
}

/* The best of several runs: on a shared machine the others are noise. */
static void
least(double *best, double t)
{
	if (*best == 0 || t < *best)
		*best = t;
}

static void
measure(struct bench *b, const char *what)
{
	double encode = 0, decode = 0, avro_encode = 0, avro_decode = 0, te, td;
	struct buf out = { 0 };

	for (int i = 0; i < RUNS; i++) {
		least(&encode, ours_encode(b, &out));
		b->body = buf_view(&out);
		least(&decode, ours_decode(b));
		theirs(b, &te, &td);
		least(&avro_encode, te);
		least(&avro_decode, td);
	}
	printf("%-12s %4zu bytes  encode %6.1f ns  avro-c %7.1f ns  %5.1fx   decode %6.1f ns  avro-c %7.1f ns  %5.1fx\n",
	    what, b->body.n, encode, avro_encode, avro_encode / encode, decode, avro_decode, avro_decode / decode);
	buf_free(&out);
}

int
main(int argc, char **argv)
{
	struct bench b = { .records = argc > 1 ? strtol(argv[1], NULL, 10) : RECORDS };

	must(b.records > 0, "usage: codec_bench [records]");
	setup(&b);
	measure(&b, "after");
	b.env.before = b.row;
	measure(&b, "before+after");
	arena_free(&b.a);
	return EXIT_SUCCESS;
}
