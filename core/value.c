#include "core/value.h"

bool
value_eq(const struct value *a, const struct value *b)
{
	if (a->kind != b->kind || !slice_eq(a->exact, b->exact))
		return false;
	switch ((enum value_kind)a->kind) {
	case V_ABSENT:
	case V_NULL:
		return true;
	case V_BOOL:
	case V_INT:
		return a->i == b->i;
	case V_FLOAT:
	case V_DOUBLE:
		return memcmp(&a->d, &b->d, sizeof a->d) == 0;
	case V_DECIMAL:
		return a->scale == b->scale && slice_eq(a->s, b->s);
	case V_BYTES:
	case V_STRING:
	case V_AVRO:
		return slice_eq(a->s, b->s);
	}
	return false;
}
