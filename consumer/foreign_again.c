/* A foreign record that is read again, for what is parked. */
#include "consumer/foreign_impl.h"

enum rc
foreign_again(const struct kafka *k, struct decode *d, struct batch *b, rd_kafka_message_t *m,
    const char *topic, int64_t *value_id, struct row *out, int64_t *source_us, struct err *err)
{
	struct foreign f = { .kafka = k, .decode = d, .batch.arena = b->arena };
	struct fetch_part fp = { .topic = topic };
	struct foreign_part p = { .fp = &fp, .value_id = *value_id };
	struct foreign_row row;
	enum rc rc = foreign_decode(&f, &p, m, &row, err);

	b->arena = f.batch.arena;
	if (rc != OK)
		return rc;
	if (row.kind == FOREIGN_BAD)
		return fail(err, REJECT, "%s", row.why);
	if (row.kind == FOREIGN_NOTHING)
		return fail(err, REJECT,
		    "the record has no value, and which table it is of is not known here; delete the row by hand, then skip it");
	*value_id = row.value_id;
	*source_us = row.source_us;
	*out = row.row;
	return OK;
}
