/*
 * schema_mark.h - what of two schemas decides how bytes are read, in 32 bits.
 *
 * A registry's number says which schema wrote a record only as long as the registry keeps its numbers. One that was emptied and filled anew
 * gives them out in another order, and a record read by another table's schema is a wrong row, if the layouts are alike. So the header
 * `tl` carries this mark of the schemas that the writer had, and a reader compares it with what the registry gave it.
 */
#ifndef SCHEMAS_SCHEMA_MARK_H
#define SCHEMAS_SCHEMA_MARK_H

#include "core/base.h"

/*
 * Of names and types in their order, and of what gives values their meaning (connect.name, connect.parameters, scale, towline.*). Not of
 * attributes' order, white space, defaults and docs: registries print schemas in their own way, and keys of another default are the
 * same bytes. key may be empty. Never 0; 0 when a text is no JSON.
 */
uint32_t schema_mark(struct slice key, struct slice value);

/* Would both read the same bytes as the same values? */
bool schema_alike(struct slice a, struct slice b);

#endif
