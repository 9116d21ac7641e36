#include "core/event.h"

bool
change_moves_key(const struct change *ch)
{
	if (ch->op != OP_UPDATE || !ch->before)
		return false;
	for (int i = 0; i < ch->tbl->nkeys; i++)
		if (!value_eq(&ch->before[ch->tbl->keys[i]], &ch->after[ch->tbl->keys[i]]))
			return true;
	return false;
}
