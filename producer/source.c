#include "producer/source.h"
#include "core/sqlite.h"

enum rc
source_open(const struct conf *conf, struct source **out, struct err *err)
{
	return sqlite_url_path(conf->source_url) ? source_sqlite_open(conf, out, err) : source_pg_open(conf, out, err);
}
