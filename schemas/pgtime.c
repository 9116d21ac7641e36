#include "schemas/pgtime.h"

#define US_SECOND 1000000LL
#define MONTH_US 2629800000000LL /* 365.25 / 12 days */

bool
pgtime_date_ok(int64_t days)
{
	return (days >= PG_DATE_MIN && days <= PG_DATE_MAX) || days == INT32_MAX
	    || days == INT32_MIN;
}

bool
pgtime_timestamp_ok(int64_t us)
{
	return (us >= PG_TIMESTAMP_MIN && us <= PG_TIMESTAMP_MAX) || us == INT64_MAX
	    || us == INT64_MIN;
}

/* PostgreSQL 17 and later; before, the same bits are an interval that no input makes. */
bool
pgtime_interval_infinite(const struct pg_interval *v)
{
	return (v->us == INT64_MAX && v->days == INT32_MAX && v->months == INT32_MAX)
	    || (v->us == INT64_MIN && v->days == INT32_MIN && v->months == INT32_MIN);
}

/* ---- calendar: proleptic Gregorian, eras of 400 years that begin on 1 March (Hinnant,
 * "chrono-compatible low-level date algorithms") ---- */

static int64_t
days_of(int64_t y, int m, int d)
{
	int64_t era, yoe, doy;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = y - era * 400;
	doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468 - PG_EPOCH_DAYS;
}

static void
civil_of(int64_t days, int *y, int *m, int *d)
{
	int64_t z = days + PG_EPOCH_DAYS + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
	uint32_t doe = (uint32_t)(z - era * 146097);
	uint32_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	uint32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	uint32_t mp = (5 * doy + 2) / 153;

	*d = (int)(doy - (153 * mp + 2) / 5 + 1);
	*m = (int)(mp < 10 ? mp + 3 : mp - 9);
	*y = (int)(yoe + era * 400) + (*m <= 2);
}

static int
month_days(int64_t y, int m)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0) ? 29 : days[m - 1];
}

/* ---- reading ---- */

struct scan {
	const char *p, *end;
};

static struct scan
scan_of(struct slice s)
{
	return (struct scan){ s.p, s.p + s.n };
}

static bool
take(struct scan *s, char c)
{
	if (s->p == s->end || *s->p != c)
		return false;
	s->p++;
	return true;
}

static bool
word(struct scan *s, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, text, n) != 0)
		return false;
	s->p += n;
	return true;
}

/* min to max digits, max <= 18; false leaves the scan somewhere in between, which every caller
 * treats as the end. */
static bool
number(struct scan *s, int min, int max, int64_t *v)
{
	int n = 0;

	*v = 0;
	for (; n < max && s->p < s->end && *s->p >= '0' && *s->p <= '9'; n++)
		*v = *v * 10 + (*s->p++ - '0');
	return n >= min;
}

/* Up to nine digits behind the point, rounded to microseconds. */
static bool
fraction(struct scan *s, int64_t *us)
{
	const char *from = s->p;
	int64_t v;

	if (!number(s, 1, 9, &v))
		return false;
	for (long n = s->p - from; n < 9; n++)
		v *= 10;
	*us = (v + 500) / 1000;
	return true;
}

static bool
scan_time(struct scan *s, int64_t *us)
{
	int64_t h, m, sec = 0, frac = 0;

	if (!number(s, 2, 2, &h) || !take(s, ':') || !number(s, 2, 2, &m))
		return false;
	if (take(s, ':')) {
		if (!number(s, 2, 2, &sec))
			return false;
		if (take(s, '.') && !fraction(s, &frac))
			return false;
	}
	if (m > 59 || sec > 59)
		return false;
	*us = ((h * 60 + m) * 60 + sec) * US_SECOND + frac;
	return *us <= PG_DAY_US;
}

/* Z, or +hh, +hh:mm, +hh:mm:ss, +hhmm. */
static bool
scan_zone(struct scan *s, int32_t *west)
{
	int64_t h, m = 0, sec = 0;
	bool minus;

	*west = 0;
	if (take(s, 'Z'))
		return true;
	minus = take(s, '-');
	if (!minus && !take(s, '+'))
		return false;
	if (!number(s, 2, 2, &h))
		return false;
	if (take(s, ':') || (s->p < s->end && *s->p >= '0' && *s->p <= '9')) {
		if (!number(s, 2, 2, &m) || (take(s, ':') && !number(s, 2, 2, &sec)))
			return false;
	}
	if (h > 15 || m > 59 || sec > 59)
		return false;
	*west = (int32_t)((h * 60 + m) * 60 + sec) * (minus ? 1 : -1);
	return true;
}

/* Year, month and day; BC stands behind the time and is applied by date_finish. */
struct ymd {
	int64_t y, m, d;
};

static bool
scan_ymd(struct scan *s, struct ymd *v)
{
	bool minus = take(s, '-');

	if (!minus)
		take(s, '+');
	if (!number(s, 4, 9, &v->y) || !take(s, '-') || !number(s, 2, 2, &v->m) || !take(s, '-')
	    || !number(s, 2, 2, &v->d))
		return false;
	if (minus)
		v->y = -v->y;
	return true;
}

static bool
date_finish(struct scan *s, struct ymd *v, int64_t *days)
{
	if (word(s, " BC"))
		v->y = 1 - v->y;
	if (s->p != s->end || v->y < -4713 || v->y > 5874897 || v->m < 1 || v->m > 12 || v->d < 1
	    || v->d > month_days(v->y, (int)v->m))
		return false;
	*days = days_of(v->y, (int)v->m, (int)v->d);
	return true;
}

bool
pgtime_date_parse(struct slice text, int32_t *days)
{
	struct scan s = scan_of(text);
	struct ymd v;
	int64_t n;

	if (slice_is(text, "infinity") || slice_is(text, "-infinity")) {
		*days = *text.p == '-' ? INT32_MIN : INT32_MAX;
		return true;
	}
	if (!scan_ymd(&s, &v) || !date_finish(&s, &v, &n) || !pgtime_date_ok(n))
		return false;
	*days = (int32_t)n;
	return true;
}

bool
pgtime_time_parse(struct slice text, int64_t *us)
{
	struct scan s = scan_of(text);

	return scan_time(&s, us) && s.p == s.end;
}

bool
pgtime_timetz_parse(struct slice text, struct pg_timetz *out)
{
	struct scan s = scan_of(text);

	return scan_time(&s, &out->us) && scan_zone(&s, &out->west) && s.p == s.end;
}

bool
pgtime_timestamp_parse(struct slice text, int64_t *us)
{
	struct scan s = scan_of(text);
	int32_t west = 0;
	struct ymd v;
	int64_t days, time;

	if (slice_is(text, "infinity") || slice_is(text, "-infinity")) {
		*us = *text.p == '-' ? INT64_MIN : INT64_MAX;
		return true;
	}
	if (!scan_ymd(&s, &v) || !(take(&s, ' ') || take(&s, 'T')) || !scan_time(&s, &time))
		return false;
	if (s.p < s.end && *s.p != ' ' && !scan_zone(&s, &west))
		return false;
	/* A year more, for the zone to bring it back. */
	if (v.y > 294277 || !date_finish(&s, &v, &days))
		return false;
	if (__builtin_mul_overflow(days, PG_DAY_US, us)
	    || __builtin_add_overflow(*us, time + west * US_SECOND, us))
		return false;
	return *us >= PG_TIMESTAMP_MIN && *us <= PG_TIMESTAMP_MAX;
}

/* [h]hh:mm:ss[.ffffff] of an interval, the sign already taken. */
static bool
interval_time(struct scan *s, int64_t hours, bool minus, int64_t *us)
{
	int64_t m, sec, frac = 0;
	__int128 v;

	if (!number(s, 2, 2, &m) || !take(s, ':') || !number(s, 2, 2, &sec) || m > 59 || sec > 59)
		return false;
	if (take(s, '.') && !fraction(s, &frac))
		return false;
	v = ((__int128)hours * 3600 + m * 60 + sec) * US_SECOND + frac;
	if (minus)
		v = -v;
	*us = (int64_t)v;
	return v >= INT64_MIN && v <= INT64_MAX;
}

static bool
interval_add(int32_t *field, int64_t v)
{
	return !__builtin_add_overflow(*field, v, field);
}

/* "1 year 2 mons -3 days +04:05:06.7": fields with a sign each, any of them left out. */
bool
pgtime_interval_parse(struct slice text, struct pg_interval *out)
{
	struct scan s = scan_of(text);

	*out = (struct pg_interval){ 0 };
	if (slice_is(text, "infinity") || slice_is(text, "-infinity")) {
		bool minus = *text.p == '-';

		out->us = minus ? INT64_MIN : INT64_MAX;
		out->days = out->months = minus ? INT32_MIN : INT32_MAX;
		return true;
	}
	do {
		bool minus = take(&s, '-'), ok;
		int64_t v;

		if (!minus)
			take(&s, '+');
		if (!number(&s, 1, 10, &v))
			return false;
		if (take(&s, ':'))
			return interval_time(&s, v, minus, &out->us) && s.p == s.end;
		if (minus)
			v = -v;
		if (word(&s, " year"))
			ok = interval_add(&out->months, v * 12);
		else if (word(&s, " mon"))
			ok = interval_add(&out->months, v);
		else
			ok = word(&s, " day") && interval_add(&out->days, v);
		if (!ok)
			return false;
		take(&s, 's');
	} while (take(&s, ' '));
	return s.p == s.end;
}

/* ---- writing ---- */

static char *
put_text(char *p, const char *text)
{
	size_t n = strlen(text);

	memcpy(p, text, n);
	return p + n;
}

static char *
put2(char *p, unsigned v)
{
	p[0] = (char)('0' + v / 10);
	p[1] = (char)('0' + v % 10);
	return p + 2;
}

/* v in decimal, at least `width` digits. */
static char *
put_number(char *p, uint64_t v, int width)
{
	char tmp[24];
	int n = 0;

	do
		tmp[n++] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	while (n < width)
		tmp[n++] = '0';
	while (n > 0)
		*p++ = tmp[--n];
	return p;
}

static char *
put_year(char *p, unsigned y)
{
	return y < 10000 ? put2(put2(p, y / 100), y % 100) : put_number(p, y, 4);
}

static char *
put_month_day(char *p, int m, int d)
{
	*p++ = '-';
	p = put2(p, (unsigned)m);
	*p++ = '-';
	return put2(p, (unsigned)d);
}

/* ".678901"; digits 0: trailing zeros dropped, and the point with them. */
static char *
put_fraction(char *p, uint32_t us, int digits)
{
	char *from = p;
	int n = digits ? digits : 6;

	if (!us && !digits)
		return p;
	*p++ = '.';
	p = put2(put2(put2(p, us / 10000), us / 100 % 100), us % 100);
	p = from + 1 + n;
	if (!digits)
		while (p[-1] == '0')
			p--;
	return p;
}

static char *
put_clock(char *p, uint64_t us, int digits)
{
	uint32_t sec = (uint32_t)(us / US_SECOND);

	p = put2(p, sec / 3600);
	*p++ = ':';
	p = put2(p, sec / 60 % 60);
	*p++ = ':';
	p = put2(p, sec % 60);
	return put_fraction(p, (uint32_t)(us % US_SECOND), digits);
}

/* Days and time of day of a timestamp. */
static int64_t
split(int64_t us, int64_t *time)
{
	int64_t days = us / PG_DAY_US;

	*time = us - days * PG_DAY_US;
	if (*time < 0) {
		*time += PG_DAY_US;
		days--;
	}
	return days;
}

char *
pgtime_put_date(char *p, int32_t days)
{
	int y, m, d;

	if (days == INT32_MAX || days == INT32_MIN)
		return put_text(p, days < 0 ? "-infinity" : "infinity");
	civil_of(days, &y, &m, &d);
	p = put_month_day(put_year(p, (unsigned)(y > 0 ? y : 1 - y)), m, d);
	return y > 0 ? p : put_text(p, " BC");
}

char *
pgtime_put_time(char *p, int64_t us)
{
	return put_clock(p, (uint64_t)us, 0);
}

static char *
put_zone(char *p, int32_t west)
{
	uint32_t v = (uint32_t)(west < 0 ? -west : west);

	*p++ = west > 0 ? '-' : '+';
	p = put2(p, v / 3600);
	if (v % 3600) {
		*p++ = ':';
		p = put2(p, v / 60 % 60);
	}
	if (v % 60) {
		*p++ = ':';
		p = put2(p, v % 60);
	}
	return p;
}

char *
pgtime_put_timetz(char *p, const struct pg_timetz *v)
{
	return put_zone(put_clock(p, (uint64_t)v->us, 0), v->west);
}

char *
pgtime_put_timestamp(char *p, int64_t us, bool tz)
{
	int64_t time, days;
	int y, m, d;

	if (us == INT64_MAX || us == INT64_MIN)
		return put_text(p, us < 0 ? "-infinity" : "infinity");
	days = split(us, &time);
	civil_of(days, &y, &m, &d);
	p = put_month_day(put_year(p, (unsigned)(y > 0 ? y : 1 - y)), m, d);
	*p++ = ' ';
	p = put_clock(p, (uint64_t)time, 0);
	if (tz)
		p = put_text(p, "+00");
	return y > 0 ? p : put_text(p, " BC");
}

static char *
put_java_date(char *p, int64_t days)
{
	int y, m, d;

	civil_of(days, &y, &m, &d);
	if (y < 0 || y > 9999)
		*p++ = y < 0 ? '-' : '+';
	return put_month_day(put_year(p, (unsigned)(y < 0 ? -y : y)), m, d);
}

char *
pgtime_put_iso_date(char *p, int32_t days)
{
	if (days == INT32_MAX || days == INT32_MIN)
		return put_text(p, days < 0 ? "-infinity" : "infinity");
	p = put_java_date(p, days);
	*p++ = 'Z';
	return p;
}

char *
pgtime_put_iso(char *p, int64_t us, int digits)
{
	int64_t time, days;

	if (us == INT64_MAX || us == INT64_MIN)
		return put_text(p, us < 0 ? "-infinity" : "infinity");
	days = split(us, &time);
	p = put_java_date(p, days);
	*p++ = 'T';
	p = put_clock(p, (uint64_t)time, digits);
	*p++ = 'Z';
	return p;
}

char *
pgtime_put_iso_timetz(char *p, const struct pg_timetz *v)
{
	int64_t us = v->us + v->west * US_SECOND;

	if (us < 0)
		us += PG_DAY_US;
	else if (us > PG_DAY_US || (us == PG_DAY_US && v->west != 0))
		us -= PG_DAY_US;
	p = put_clock(p, (uint64_t)us, 0);
	*p++ = 'Z';
	return p;
}

/* "1 year", "-2 years", " +3 days": `before` says that the field before was negative, so that a
 * plus is needed. */
static char *
put_field(char *p, int64_t v, const char *unit, bool *first, bool *before)
{
	if (v == 0)
		return p;
	if (!*first)
		*p++ = ' ';
	if (v < 0 || *before)
		*p++ = v < 0 ? '-' : '+';
	p = put_number(p, (uint64_t)(v < 0 ? -v : v), 1);
	*p++ = ' ';
	p = put_text(p, unit);
	if (v != 1)
		*p++ = 's';
	*before = v < 0;
	*first = false;
	return p;
}

char *
pgtime_put_interval(char *p, const struct pg_interval *v)
{
	uint64_t us = v->us < 0 ? 0 - (uint64_t)v->us : (uint64_t)v->us, sec = us / US_SECOND;
	bool first = true, before = false;

	if (pgtime_interval_infinite(v))
		return put_text(p, v->us < 0 ? "-infinity" : "infinity");
	p = put_field(p, v->months / 12, "year", &first, &before);
	p = put_field(p, v->months % 12, "mon", &first, &before);
	p = put_field(p, v->days, "day", &first, &before);
	if (!first && us == 0)
		return p;
	if (!first)
		*p++ = ' ';
	if (v->us < 0 || before)
		*p++ = v->us < 0 ? '-' : '+';
	p = put_number(p, sec / 3600, 2);
	*p++ = ':';
	p = put2(p, (unsigned)(sec / 60 % 60));
	*p++ = ':';
	p = put2(p, (unsigned)(sec % 60));
	return put_fraction(p, (uint32_t)(us % US_SECOND), 0);
}

bool
pgtime_interval_us(const struct pg_interval *v, int64_t *us)
{
	__int128 sum = (__int128)v->months * MONTH_US + (__int128)v->days * PG_DAY_US + v->us;

	*us = sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
	return sum == *us;
}
