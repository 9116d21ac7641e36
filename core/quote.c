#include "core/quote.h"

size_t
quote_utf8(struct slice s)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const uint8_t *p = (const uint8_t *)s.p;
	uint32_t c;
	size_t n;

	if (s.n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < n)
		return 0;
	c = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static void
quote_control(struct buf *b, uint8_t c)
{
	static const char letters[] = "btn\0fr"; /* \b is 8; 11 has no letter */

	if (c >= 8 && c <= 13 && letters[c - 8])
		buf_printf(b, "\\%c", letters[c - 8]);
	else
		buf_printf(b, "\\u%04x", c);
}

void
quote_json(struct buf *b, struct slice s)
{
	buf_byte(b, '"');
	while (s.n) {
		uint8_t c = (uint8_t)s.p[0];
		size_t n = quote_utf8(s);

		if (n == 0)
			buf_text(b, "\xef\xbf\xbd");
		else if (c < 0x20 || c == 0x7f)
			quote_control(b, c);
		else if (c == '"' || c == '\\')
			buf_printf(b, "\\%c", c);
		else
			buf_bytes(b, s.p, n);
		n = n ? n : 1;
		s.p += n;
		s.n -= n;
	}
	buf_byte(b, '"');
}

void
quote_logfmt(struct buf *b, struct slice s)
{
	bool bare = s.n > 0;

	for (size_t i = 0; i < s.n && bare; i++)
		bare = (uint8_t)s.p[i] > ' ' && (uint8_t)s.p[i] < 0x7f && s.p[i] != '"' && s.p[i] != '=' && s.p[i] != '\\';
	if (bare)
		buf_slice(b, s);
	else
		quote_json(b, s);
}
