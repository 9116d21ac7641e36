/*
 * pgtime.h - PostgreSQL's dates and times as the server stores them, and their texts.
 *
 * Stored forms (src/include/datatype/timestamp.h): a date is days since 2000-01-01, a timestamp
 * microseconds since then, both with the type's extremes as infinities; an interval is three fields
 * that do not convert into each other. Texts are those of datestyle ISO and intervalstyle postgres,
 * and Java's ISO forms as Debezium writes them.
 */
#ifndef SCHEMAS_PGTIME_H
#define SCHEMAS_PGTIME_H

#include "core/base.h"

#define PG_DAY_US 86400000000LL
#define PG_EPOCH_DAYS 10957 /* from 1970-01-01 to 2000-01-01 */
#define PG_EPOCH_US (PG_EPOCH_DAYS * PG_DAY_US)
#define PG_DATE_MIN (-2451545) /* 4714-11-24 BC */
#define PG_DATE_MAX 2145031948 /* 5874897-12-31 */
#define PG_TIMESTAMP_MIN (-211813488000000000LL) /* 4714-11-24 00:00:00 BC */
#define PG_TIMESTAMP_MAX 9223371331199999999LL /* 294276-12-31 23:59:59.999999 */

enum { PGTIME_TEXT_MAX = 128 }; /* room that every pgtime_put_* may use */

struct pg_interval {
	int64_t us;
	int32_t days, months;
};

struct pg_timetz {
	int64_t us; /* local time of day */
	int32_t west; /* zone in seconds west of Greenwich, PostgreSQL's sign */
};

/* True when the server could have stored it; infinities included. */
bool pgtime_date_ok(int64_t days);
bool pgtime_timestamp_ok(int64_t us);
bool pgtime_interval_infinite(const struct pg_interval *v);

/*
 * Texts -> stored form; false: malformed or out of range. A timestamp may be written in
 * PostgreSQL's way or in Java's
 * ("+10000-01-01T00:00:00Z", year 0 is 1 BC), with or without a zone; the result is in UTC.
 */
bool pgtime_date_parse(struct slice s, int32_t *days);
bool pgtime_time_parse(struct slice s, int64_t *us);
bool pgtime_timetz_parse(struct slice s, struct pg_timetz *out);
bool pgtime_timestamp_parse(struct slice s, int64_t *us);
bool pgtime_interval_parse(struct slice s, struct pg_interval *out);

/* Stored form -> text at p, which has PGTIME_TEXT_MAX bytes; each returns the end. No NUL is
 * written. */
char *pgtime_put_date(char *p, int32_t days);
char *pgtime_put_time(char *p, int64_t us);
char *pgtime_put_timetz(char *p, const struct pg_timetz *v);
char *pgtime_put_timestamp(char *p, int64_t us, bool tz);
char *pgtime_put_interval(char *p, const struct pg_interval *v);

/* Java's ISO_OFFSET_DATE_TIME in UTC; digits: of the fraction, 0: as few as needed. Infinities as
 * words. */
char *pgtime_put_iso(char *p, int64_t us, int digits);

/* Java's ISO_OFFSET_DATE in UTC, "2026-01-02Z". Infinities as words. */
char *pgtime_put_iso_date(char *p, int32_t days);

/* Java's ISO_OFFSET_TIME in UTC, the fraction as short as it goes; 24:00:00 in UTC stays. */
char *pgtime_put_iso_timetz(char *p, const struct pg_timetz *v);

/* Debezium's MicroDuration, a month being 365.25/12 days. False: it does not fit, *us is the
 * nearest that does. */
bool pgtime_interval_us(const struct pg_interval *v, int64_t *us);

#endif
