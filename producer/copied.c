#include "producer/copied.h"
#include "producer/copy.h"
#include "schemas/control.h"

enum { LOAD_MS = 30000 };

enum rc
copied_upto(const struct kafka *k, uint64_t *no, struct err *err)
{
	struct control *c = NULL;
	struct control_record rec;
	struct copy copy = { 0 };
	struct slice table;
	struct err why;
	enum rc rc = control_open(k, CONTROL_ALL, false, &c, err);

	*no = 0;
	while (rc == OK && control_there(c) && (rc = control_held(c, LOAD_MS, &rec, err)) == OK)
		if (control_about(rec.key, COPY_PREFIX, &table) && rec.value.n && copy_take(rec.value, &copy, &why) == OK &&
		    copy.upto.no > *no)
			*no = copy.upto.no;
	copy_free(&copy);
	control_close(c);
	return rc == AGAIN ? OK : rc;
}
