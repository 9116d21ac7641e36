#include "schemas/pgnumeric.h"

#include <gmp.h>

typedef unsigned __int128 u128;

enum {
	SMALL_DIGITS = 38, /* 10^38 < 2^127, so the signed value fits too */
	SCALE_MAX = 16383,
	WHOLE_MAX = 131072, /* digits before the point */
	DIGITS_MAX = WHOLE_MAX + SCALE_MAX,
	BYTES_MAX = 61 * 1024, /* DIGITS_MAX digits take 61,240 bytes */
	SIGN_NEG = 0x4000,
	SIGN_NAN = 0xC000,
	SIGN_PINF = 0xD000,
	SIGN_NINF = 0xF000,
	SCALE_INFINITE = 0x20, /* what the server sends with it, and ignores */
};

/* clang-format off */
static const uint64_t pow10_64[] = {
	1ULL, 10ULL, 100ULL, 1000ULL, 10000ULL, 100000ULL, 1000000ULL, 10000000ULL, 100000000ULL,
	1000000000ULL, 10000000000ULL, 100000000000ULL, 1000000000000ULL, 10000000000000ULL,
	100000000000000ULL, 1000000000000000ULL, 10000000000000000ULL, 100000000000000000ULL,
	1000000000000000000ULL, 10000000000000000000ULL,
};
/* clang-format on */

/* 10^k, k <= 38 */
static u128
pow10_of(int k)
{
	return k <= 19 ? pow10_64[k] : (u128)pow10_64[19] * pow10_64[k - 19];
}

static bool
is_small(const struct pg_numeric *n)
{
	return n->digits.n == 0;
}

static int
digit_count(u128 v)
{
	int k = 0;

	while (k < SMALL_DIGITS && v >= pow10_of(k))
		k++;
	return k;
}

/* Set the magnitude from ASCII digits, leading zeros allowed; long ones are kept by reference. */
static void
set_digits(struct pg_numeric *n, struct slice d)
{
	while (d.n && *d.p == '0') {
		d.p++;
		d.n--;
	}
	n->digits = (struct slice){ NULL, 0 };
	n->v = 0;
	if (d.n > SMALL_DIGITS) {
		n->digits = d;
		return;
	}
	for (size_t i = 0; i < d.n; i++)
		n->v = n->v * 10 + (unsigned)(d.p[i] - '0');
	if (d.n == 0)
		n->neg = false;
}

/* ASCII digits of v at p (room for 39), without leading zeros: none for 0. Returns how many. */
static size_t
put_small(char *p, u128 v)
{
	char tmp[40];
	size_t n = 0;

	while (v >> 64) {
		uint64_t low = (uint64_t)(v % pow10_64[19]);

		v /= pow10_64[19];
		for (int i = 0; i < 19; i++, low /= 10)
			tmp[n++] = (char)('0' + low % 10);
	}
	for (uint64_t w = (uint64_t)v; w; w /= 10)
		tmp[n++] = (char)('0' + w % 10);
	for (size_t i = 0; i < n; i++)
		p[i] = tmp[n - 1 - i];
	return n;
}

static struct slice
digits_of(const struct pg_numeric *n, char tmp[40])
{
	if (!is_small(n))
		return n->digits;
	return (struct slice){ tmp, put_small(tmp, n->v) };
}

void
pgnumeric_from_int(int64_t v, struct pg_numeric *out)
{
	*out = (struct pg_numeric){ .neg = v < 0, .v = v < 0 ? 0 - (uint64_t)v : (uint64_t)v };
}

/* ---- from base 10000 ---- */

struct groups {
	const uint8_t *p;
	int n, weight, dscale;
};

static unsigned
group_at(const struct groups *g, int i)
{
	return i >= 0 && i < g->n ? be16(g->p + 2 * i) : 0;
}

/* All digits in one integer, then moved from the scale of whole groups to dscale. */
static void
recv_small(const struct groups *g, int shift, struct pg_numeric *out)
{
	if (g->n <= 4 && g->n * 4 + shift <= 19) {
		uint64_t v = 0;

		for (int i = 0; i < g->n; i++)
			v = v * 10000 + be16(g->p + 2 * i);
		out->v = shift >= 0 ? v * pow10_64[shift] : -shift <= 19 ? v / pow10_64[-shift] : 0;
		return;
	}
	out->v = 0;
	for (int i = 0; i < g->n; i++)
		out->v = out->v * 10000 + be16(g->p + 2 * i);
	if (shift >= 0)
		out->v *= pow10_of(shift);
	else
		out->v = -shift <= SMALL_DIGITS ? out->v / pow10_of(-shift) : 0;
}

static void
recv_big(const struct groups *g, struct arena *a, struct pg_numeric *out)
{
	int whole = g->weight >= 0 ? g->weight + 1 : 0, frac = (g->dscale + 3) / 4;
	char *text = arena_raw(a, (size_t)(whole + frac) * 4 + 1), *p = text;

	for (int i = g->weight + 1 - whole; i < g->weight + 1 + frac; i++) {
		unsigned v = group_at(g, i);

		*p++ = (char)('0' + v / 1000);
		*p++ = (char)('0' + v / 100 % 10);
		*p++ = (char)('0' + v / 10 % 10);
		*p++ = (char)('0' + v % 10);
	}
	set_digits(out, (struct slice){ text, (size_t)whole * 4 + (size_t)g->dscale });
}

static bool
recv_special(unsigned sign, struct pg_numeric *out)
{
	if (sign != SIGN_NAN && sign != SIGN_PINF && sign != SIGN_NINF)
		return false;
	out->class = sign == SIGN_NAN ? NUM_NAN : NUM_INFINITE;
	out->neg = sign == SIGN_NINF;
	return true;
}

bool
pgnumeric_recv(struct slice data, struct arena *a, struct pg_numeric *out)
{
	const uint8_t *p = (const uint8_t *)data.p;
	struct groups g;
	unsigned sign;
	int shift;

	*out = (struct pg_numeric){ 0 };
	if (data.n < 8)
		return false;
	g = (struct groups){ p + 8, be16(p), (int16_t)be16(p + 2), be16(p + 6) };
	sign = be16(p + 4);
	if (data.n != 8 + 2 * (size_t)g.n || g.dscale > SCALE_MAX)
		return false;
	if (sign != 0 && sign != SIGN_NEG)
		return recv_special(sign, out);
	for (int i = 0; i < g.n; i++)
		if (be16(g.p + 2 * i) > 9999)
			return false;
	out->scale = g.dscale;
	out->neg = sign == SIGN_NEG;
	shift = g.dscale - 4 * (g.n - g.weight - 1);
	if (g.n == 0)
		out->neg = false;
	else if (g.n <= 9 && g.n * 4 + (shift > 0 ? shift : 0) <= SMALL_DIGITS)
		recv_small(&g, shift, out);
	else
		recv_big(&g, a, out);
	if (is_small(out) && out->v == 0)
		out->neg = false;
	return true;
}

/* ---- from text ---- */

static bool
parse_special(struct slice s, struct pg_numeric *out)
{
	out->neg = slice_is(s, "-Infinity");
	out->class = slice_is(s, "NaN") ? NUM_NAN : NUM_INFINITE;
	return out->class == NUM_NAN || out->neg || slice_is(s, "Infinity");
}

/* [-+]digits[.digits]; at least one digit. */
bool
pgnumeric_parse(struct slice s, struct arena *a, struct pg_numeric *out)
{
	bool point = false;
	size_t n = 0, whole = 0;
	u128 v = 0;
	char *text;

	*out = (struct pg_numeric){ 0 };
	if (s.n > DIGITS_MAX + 2)
		return false;
	if (s.n && (*s.p == '-' || *s.p == '+') && s.n > 1 && s.p[1] != 'I') {
		out->neg = *s.p == '-';
		s = (struct slice){ s.p + 1, s.n - 1 };
	}
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned)(unsigned char)s.p[i] - '0';

		if (s.p[i] == '.' && !point) {
			point = true;
			whole = n;
			continue;
		}
		if (d > 9)
			return !out->neg && parse_special(s, out);
		if (++n <= SMALL_DIGITS)
			v = v * 10 + d;
	}
	out->scale = point ? (int32_t)(n - whole) : 0;
	if (n == 0 || out->scale > SCALE_MAX || (point ? whole : n) > WHOLE_MAX)
		return false;
	if (n <= SMALL_DIGITS) {
		out->v = v;
		out->neg &= v != 0;
		return true;
	}
	text = arena_raw(a, n);
	n = 0;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '.')
			text[n++] = s.p[i];
	set_digits(out, (struct slice){ text, n });
	return true;
}

/* ---- two's complement ---- */

/* More than 16 bytes, or more than 38 digits: magnitude into limbs, then into decimal digits. */
static void
digits_from_bytes(struct slice s, struct arena *a, struct pg_numeric *out)
{
	size_t n = (s.n + 7) / 8, len;
	mp_limb_t *limb = arena_alloc(a, n * sizeof *limb);
	unsigned char *text;
	uint8_t flip = out->neg ? 0xff : 0;

	for (size_t i = 0; i < s.n; i++)
		limb[i / 8] |= (mp_limb_t)(uint8_t)((uint8_t)s.p[s.n - 1 - i] ^ flip)
		    << (i % 8 * 8);
	if (out->neg) /* no carry: the top byte is below 0x80 now */
		mpn_add_1(limb, limb, (mp_size_t)n, 1);
	while (n > 0 && limb[n - 1] == 0)
		n--;
	if (n == 0)
		return;
	text = arena_raw(a, n * 20 + 2);
	len = mpn_get_str(text, 10, limb, (mp_size_t)n);
	for (size_t i = 0; i < len; i++)
		text[i] = (unsigned char)(text[i] + '0');
	set_digits(out, (struct slice){ (const char *)text, len });
}

static bool
append_zeros(struct pg_numeric *n, size_t k, struct arena *a)
{
	char tmp[40], *text;
	struct slice d = digits_of(n, tmp);

	if (d.n + k > DIGITS_MAX)
		return false;
	text = arena_raw(a, d.n + k);
	if (d.n)
		memcpy(text, d.p, d.n);
	memset(text + d.n, '0', k);
	set_digits(n, (struct slice){ text, d.n + k });
	return true;
}

bool
pgnumeric_from_bytes(struct slice s, int32_t scale, struct arena *a, struct pg_numeric *out)
{
	size_t have;

	*out = (struct pg_numeric){ .neg = s.n && (uint8_t)*s.p >= 0x80,
		.scale = scale < 0 ? 0 : scale };
	if (s.n == 0 || s.n > BYTES_MAX || scale > SCALE_MAX || scale < -WHOLE_MAX)
		return false;
	if (s.n <= 8) {
		uint64_t v = out->neg ? ~0ULL : 0;

		for (size_t i = 0; i < s.n; i++)
			v = v << 8 | (uint8_t)s.p[i];
		out->v = out->neg ? 0 - v : v;
	} else {
		u128 v = out->neg ? ~(u128)0 : 0;

		for (size_t i = 0; i < s.n && s.n <= 16; i++)
			v = v << 8 | (uint8_t)s.p[i];
		out->v = out->neg ? 0 - v : v;
		if (s.n > 16 || out->v >= pow10_of(SMALL_DIGITS))
			digits_from_bytes(s, a, out);
	}
	if (scale < 0 && !append_zeros(out, (size_t)-scale, a))
		return false;
	have = is_small(out) ? 0 : out->digits.n;
	return have <= (size_t)out->scale + WHOLE_MAX;
}

static struct slice
bytes_small(const struct pg_numeric *n, struct arena *a)
{
	__int128 v = n->neg ? -(__int128)n->v : (__int128)n->v;
	char *p = arena_raw(a, 16);
	int64_t high = (int64_t)(v >> 64);
	unsigned skip;

	put_be64(p, (uint64_t)high);
	put_be64(p + 8, (uint64_t)v);
	if (high == (int64_t)(uint64_t)v >> 63) {
		uint64_t x = (uint64_t)v ^ (uint64_t)high;

		skip = 8 + (x ? (unsigned)(__builtin_clzll(x) - 1) / 8 : 7);
	} else {
		uint64_t x = (uint64_t)high ^ (uint64_t)(high >> 63);

		skip = x ? (unsigned)(__builtin_clzll(x) - 1) / 8 : 7;
	}
	return (struct slice){ p + skip, 16 - skip };
}

/* A limb's top bit may be set, so one byte more than the limbs keeps the sign. */
static struct slice
bytes_big(const struct pg_numeric *n, struct arena *a)
{
	size_t len = n->digits.n, limbs, size, skip = 0;
	unsigned char *base = arena_raw(a, len);
	mp_limb_t *limb = arena_alloc(a, (len / 19 + 2) * sizeof *limb);
	uint8_t *p, fill = n->neg ? 0xff : 0;

	for (size_t i = 0; i < len; i++)
		base[i] = (unsigned char)(n->digits.p[i] - '0');
	limbs = (size_t)mpn_set_str(limb, base, len, 10);
	if (n->neg)
		mpn_neg(limb, limb, (mp_size_t)limbs);
	size = limbs * 8 + 1;
	p = arena_raw(a, size);
	p[0] = fill;
	for (size_t i = 0; i < limbs; i++)
		put_be64(p + 1 + 8 * i, limb[limbs - 1 - i]);
	while (skip + 1 < size && p[skip] == fill && (p[skip + 1] ^ fill) < 0x80)
		skip++;
	return (struct slice){ (const char *)p + skip, size - skip };
}

struct slice
pgnumeric_bytes(const struct pg_numeric *n, struct arena *a)
{
	return is_small(n) ? bytes_small(n, a) : bytes_big(n, a);
}

/* ---- scale ---- */

static bool
scale_up(struct pg_numeric *n, int32_t k, struct arena *a)
{
	n->scale += k;
	if (is_small(n) && n->v == 0)
		return true;
	if (is_small(n) && k < SMALL_DIGITS && digit_count(n->v) + k <= SMALL_DIGITS) {
		n->v *= pow10_of(k);
		return true;
	}
	return append_zeros(n, (size_t)k, a);
}

static bool
scale_down(struct pg_numeric *n, int32_t k)
{
	bool whole = true;

	n->scale -= k;
	if (is_small(n)) {
		u128 unit = k <= SMALL_DIGITS ? pow10_of(k) : 0, rest = unit ? n->v % unit : n->v;

		n->v = unit ? n->v / unit : 0;
		n->neg &= n->v != 0;
		return rest == 0;
	}
	for (size_t i = 0; i < (size_t)k && i < n->digits.n; i++)
		whole &= n->digits.p[n->digits.n - 1 - i] == '0';
	if ((size_t)k > n->digits.n)
		k = (int32_t)n->digits.n;
	set_digits(n, (struct slice){ n->digits.p, n->digits.n - (size_t)k });
	return whole;
}

bool
pgnumeric_rescale(struct pg_numeric *n, int32_t scale, struct arena *a)
{
	if (scale == n->scale)
		return true;
	return scale > n->scale ? scale_up(n, scale - n->scale, a)
				: scale_down(n, n->scale - scale);
}

void
pgnumeric_strip(struct pg_numeric *n)
{
	if (is_small(n)) {
		if (n->v == 0)
			n->scale = 0;
		while (n->scale > 0 && n->v >> 64 && n->v % 10 == 0) {
			n->v /= 10;
			n->scale--;
		}
		if (n->v >> 64 == 0) {
			uint64_t v = (uint64_t)n->v;

			for (; n->scale > 0 && v % 10 == 0; n->scale--)
				v /= 10;
			n->v = v;
		}
		return;
	}
	while (n->scale > 0 && n->digits.n > 0 && n->digits.p[n->digits.n - 1] == '0') {
		n->digits.n--;
		n->scale--;
	}
	set_digits(n, n->digits);
}

/* ---- to text ---- */

static size_t
text_max(const struct pg_numeric *n)
{
	return 48 + n->digits.n + (size_t)n->scale;
}

static char *
put(const struct pg_numeric *n, char *p)
{
	char tmp[40];
	struct slice d;
	size_t scale = (size_t)n->scale, whole;

	if (n->class != NUM_FINITE) {
		const char *name = n->class == NUM_NAN ? "NaN" : n->neg ? "-Infinity" : "Infinity";

		memcpy(p, name, strlen(name));
		return p + strlen(name);
	}
	d = digits_of(n, tmp);
	whole = d.n > scale ? d.n - scale : 0;
	if (n->neg)
		*p++ = '-';
	if (whole == 0)
		*p++ = '0';
	else
		memcpy(p, d.p, whole);
	p += whole;
	if (scale == 0)
		return p;
	*p++ = '.';
	memset(p, '0', scale);
	if (d.n)
		memcpy(p + scale - (d.n - whole), d.p + whole, d.n - whole);
	return p + scale;
}

struct slice
pgnumeric_text(const struct pg_numeric *n, struct arena *a)
{
	char *p = arena_raw(a, text_max(n));

	return (struct slice){ p, (size_t)(put(n, p) - p) };
}

void
pgnumeric_put(const struct pg_numeric *n, struct buf *out)
{
	if (buf_reserve(out, text_max(n)))
		out->n = (size_t)(put(n, out->p + out->n) - out->p);
}

/* ---- to base 10000 ---- */

static void
send_head(struct buf *out, int n, int weight, unsigned sign, int dscale)
{
	buf_be16(out, (uint16_t)n);
	buf_be16(out, (uint16_t)weight);
	buf_be16(out, (uint16_t)sign);
	buf_be16(out, (uint16_t)dscale);
}

/* Up to 15 digits: three more to fill the last group still fit 64 bits. */
static void
send_small(const struct pg_numeric *n, struct buf *out)
{
	int pad = (4 - n->scale % 4) % 4, count = 0, frac = (n->scale + pad) / 4, low = 0;
	uint64_t v = (uint64_t)n->v * pow10_64[pad];
	uint16_t group[5];

	for (; v; v /= 10000)
		group[count++] = (uint16_t)(v % 10000);
	while (low < count && group[low] == 0)
		low++;
	send_head(out, count - low, count ? count - 1 - frac : 0, n->neg ? SIGN_NEG : 0, n->scale);
	while (count > low)
		buf_be16(out, group[--count]);
}

/* The digit that stands for 10^(at - scale), at counted from the last one. */
static unsigned
digit_at(struct slice d, int64_t at)
{
	return at >= 0 && at < (int64_t)d.n ? (unsigned)(d.p[d.n - 1 - (size_t)at] - '0') : 0;
}

static unsigned
group_of(struct slice d, int scale, int64_t place)
{
	int64_t at = place * 4 + scale;

	return digit_at(d, at) + 10 * digit_at(d, at + 1) + 100 * digit_at(d, at + 2)
	    + 1000 * digit_at(d, at + 3);
}

static bool
send_big(const struct pg_numeric *n, struct buf *out)
{
	char tmp[40];
	struct slice d = digits_of(n, tmp);
	int64_t high = (int64_t)d.n - n->scale - 1, low = -(n->scale + 3) / 4;

	high = (high >= 0 ? high : high - 3) / 4;
	while (low < high && group_of(d, n->scale, low) == 0)
		low++;
	if (high > INT16_MAX)
		return false;
	send_head(out, (int)(high - low + 1), (int)high, n->neg ? SIGN_NEG : 0, n->scale);
	for (int64_t place = high; place >= low; place--)
		buf_be16(out, (uint16_t)group_of(d, n->scale, place));
	return true;
}

bool
pgnumeric_send(const struct pg_numeric *n, struct buf *out)
{
	if (n->class != NUM_FINITE) {
		unsigned sign = n->class == NUM_NAN ? SIGN_NAN : n->neg ? SIGN_NINF : SIGN_PINF;

		send_head(out, 0, 0, sign, n->class == NUM_NAN ? 0 : SCALE_INFINITE);
		return true;
	}
	if (is_small(n) && n->v < pow10_64[15]) {
		send_small(n, out);
		return true;
	}
	return send_big(n, out);
}
