/*
 * The table of options. A new option is one line here, one member of struct conf and one line in
 * docs/configuration.md; everything else (file, environment, --set, show, example) follows from it.
 */
#include "core/conf_option.h"

static const char name_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

static const char *
check_name(const char *s)
{
	size_t n = strspn(s, name_chars);

	return n > 0 && n <= 100 && s[n] == '\0' ? NULL : "must be 1 to 100 letters, digits, '.', '_' or '-'";
}

static const char *
check_slot(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return n > 0 && n <= 63 && s[n] == '\0' ? NULL : "must be 1 to 63 small letters, digits or '_', as PostgreSQL wants it";
}

static const char *
check_ident(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 63 ? NULL : "must be 1 to 63 bytes long, as PostgreSQL's names are";
}

static const char *
check_database(const char *s)
{
	static const char *const known[] = { "postgres://", "postgresql://", "sqlite:" };
	size_t word = strcspn(s, "=:/@ ");

	for (size_t i = 0; i < COUNTOF(known); i++)
		if (strncmp(s, known[i], strlen(known[i])) == 0)
			return s[strlen(known[i])] ? NULL : "lacks what follows the scheme";
	return word > 0 && s[word] == '=' ? NULL :
	    "must be postgres://USER@HOST/DATABASE, libpq's 'host=... dbname=...', or sqlite:PATH";
}

static const char *
check_listen(const char *s)
{
	const char *colon = strrchr(s, ':');
	size_t n = colon ? strspn(colon + 1, "0123456789") : 0;

	return colon && n > 0 && n <= 5 && !colon[1 + n] ? NULL : "must be HOST:PORT, as in 127.0.0.1:9187";
}

static const char *
check_registry(const char *s)
{
	return strncmp(s, "http://", 7) == 0 || strncmp(s, "https://", 8) == 0 ? NULL : "must be http://..., https://... or none";
}

static const char *
check_topic(const char *s)
{
	static const char *const fields[] = { "{name}", "{schema}", "{table}" };
	bool table = false;

	while (*s) {
		size_t n = strspn(s, name_chars);

		for (size_t i = 0; i < COUNTOF(fields) && n == 0; i++)
			if (strncmp(s, fields[i], strlen(fields[i])) == 0) {
				n = strlen(fields[i]);
				table |= i == 2;
			}
		if (n == 0)
			return "may hold {name}, {schema}, {table}, letters, digits, '.', '_' and '-' only";
		s += n;
	}
	return table ? NULL : "must hold {table}, or the changes of all tables would share one topic";
}

static const char *
check_topics(const char *s)
{
	size_t n;

	for (n = 0; s[n] && (strchr("*?", s[n]) || strchr(name_chars, s[n])); n++)
		;
	return n > 0 && s[n] == '\0' ? NULL : "may hold letters, digits, '.', '_', '-', '*' and '?' only";
}

static const char *
check_table(const char *s)
{
	const char *dot = strchr(s, '.');

	return dot && dot > s && dot[1] ? NULL : "is not SCHEMA.TABLE";
}

static const char *
check_field(const char *s)
{
	const char *equal = strchr(s, '=');

	return equal == s || (equal && !equal[1]) ? "is not COLUMN=NAME" : NULL;
}

static const char *
check_header(const char *s)
{
	const char *equal = strchr(s, '='), *name = equal ? equal + 1 : s;

	if (strcmp(name, "tl") == 0 || strncmp(name, "towline.", 8) == 0)
		return "is a header of Towline's own; write COLUMN=HEADER with another name";
	return check_field(s);
}

/* "{NAME}": its length; 0: it is none. */
static size_t
placeholder(const char *s)
{
	size_t n = *s == '{' ? strspn(s + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") : 0;

	return n && s[1 + n] == '}' ? n + 2 : 0;
}

static const char *
check_outbox_topic(const char *s)
{
	bool any = false;
	size_t n = 1;

	for (const char *at = s; *at && n; at += n) {
		n = placeholder(at);
		any = any || n;
		if (!n)
			n = strspn(at, name_chars);
	}
	if (!any || !n)
		return "must hold {route}, or groups of outbox.regex in braces, else letters, digits, '.', '_' and '-' only";
	return strstr(s, ".towline.") ? "is a topic of Towline's own" : NULL;
}

/* At least SCHEMA.TABLE.COLUMN, n bytes of s. */
static bool
names_column(const char *s, size_t n)
{
	const char *first = memchr(s, '.', n), *last = memrchr(s, '.', n);

	return first && first > s && last > first + 1 && last + 1 < s + n;
}

static const char *
check_column(const char *s)
{
	return names_column(s, strlen(s)) ? NULL : "is not SCHEMA.TABLE.COLUMN";
}

static const char *
check_mask(const char *s)
{
	const char *mask = strchr(s, '=');
	size_t digits;

	if (!mask || !names_column(s, (size_t)(mask - s)))
		return "is not SCHEMA.TABLE.COLUMN=MASK";
	mask++;
	if (strcmp(mask, "hash") == 0 || strcmp(mask, "fixed") == 0 || strcmp(mask, "null") == 0)
		return NULL;
	digits = strncmp(mask, "truncate:", 9) == 0 ? strspn(mask + 9, "0123456789") : 0;
	return digits && digits < 7 && !mask[9 + digits] ? NULL : "needs one of =hash, =fixed, =null, =truncate:N";
}

/* From table or schema to another name: SCHEMA.TABLE=NEW, SCHEMA.TABLE=OTHER.NEW, SCHEMA.*=OTHER.* */
static const char *
check_rename(const char *s)
{
	const char *equal = strchr(s, '='), *dot = strchr(s, '.'), *to = equal ? equal + 1 : "", *to_dot = strchr(to, '.');
	bool whole = equal && equal - s > 2 && strncmp(equal - 2, ".*", 2) == 0;

	if (!equal || !dot || dot == s || dot + 1 >= equal || !*to || to_dot == to || (to_dot && !to_dot[1]))
		return "is not SCHEMA.TABLE: NEW, nor SCHEMA.TABLE: OTHER.NEW";
	if (whole)
		return to_dot && strcmp(to_dot, ".*") == 0 ? NULL : "needs a whole schema on the right too, as in legacy.*: app.*";
	return strpbrk(s, "*?") ? "may have no * or ? but for whole schemas, as in legacy.*: app.*" : NULL;
}

static const char *
check_column_rename(const char *s)
{
	const char *equal = strchr(s, '=');

	if (!equal || !names_column(s, (size_t)(equal - s)) || !equal[1])
		return "is not SCHEMA.TABLE.COLUMN: NEW";
	return strpbrk(s, "*?") ? "names one column, without * and ?" : NULL;
}

static const char *check_of_table(const char *s);

/* SCHEMA.TABLE=TOPIC. The topic of several tables must tell them apart; and Towline's own are not for rows. */
static const char *
check_topic_of(const char *s)
{
	const char *equal = strchr(s, '='), *why = check_of_table(s), *topic = equal ? equal + 1 : "";
	bool many = equal && (memchr(s, '*', (size_t)(equal - s)) || memchr(s, '?', (size_t)(equal - s)));

	if (why)
		return why;
	if (strstr(topic, ".towline."))
		return "is a topic of Towline's own";
	why = check_topic(topic);
	return why && !many && strncmp(why, "must hold", 9) == 0 ? NULL : why;
}

/* SCHEMA.TABLE=...; a value with a newline would be two. */
static const char *
check_of_table(const char *s)
{
	const char *equal = strchr(s, '='), *dot = equal ? memchr(s, '.', (size_t)(equal - s)) : NULL;

	if (!dot || dot == s || dot + 1 == equal || !equal[1 + strspn(equal + 1, " ")])
		return "is not SCHEMA.TABLE: VALUE";
	return strchr(s, '\n') ? "must stand in one line" : NULL;
}

#define AT(member) offsetof(struct conf, member)
#define SINK(member) offsetof(struct conf_sink, member)
#define DAY_MS (24 * 3600 * 1000LL)
#define MB (1024 * 1024LL)

const struct conf_option conf_options[] = {
	{ "name",
	    "Names this pipeline: prefix of its topics; slot, publication and marker follow from it. Required.",
	    CONF_TEXT, CONF_OPEN, AT(name), .sample = "inv", .check = check_name },
	{ "node", "This node's name in the spine.", CONF_TEXT, 0, AT(node), .standard = "<name>",
	    .check = check_name },
	{ "memory", "What one process may take: its queues and batches follow from it.", CONF_SIZE, 0,
	    AT(memory_bytes), .standard = "100MB", .min = 8 * MB, .max = 1024 * 1024 * MB },

	{ "source.url",
	    "The database to read: postgres://USER@HOST/DATABASE or sqlite:PATH (see towline help source). 'source: URL' is short for it.",
	    CONF_TEXT, CONF_SHORT | CONF_URL | CONF_OPEN, AT(source_url),
	    .sample = "postgres://towline@db1/inventory", .check = check_database },
	{ "source.slot", "Replication slot in PostgreSQL; made when missing.", CONF_TEXT, 0,
	    AT(slot), .standard = "towline_<name>", .check = check_slot },
	{ "source.publication", "Publication in PostgreSQL; made when missing.", CONF_TEXT, 0,
	    AT(publication), .standard = "towline_<name>", .check = check_ident },
	{ "source.heartbeat",
	    "How often a quiet source writes a heartbeat, so that its log can be recycled; 0 turns it off.",
	    CONF_TIME, 0, AT(heartbeat_ms), .standard = "10s", .min = 0, .max = DAY_MS },
	{ "source.failover",
	    "PostgreSQL 17 and later: standbys that synchronise slots have the slot too, so that it outlives a failover.",
	    CONF_BOOL, 0, AT(failover), .standard = "true" },
	{ "source.group_rows", "A group of transactions is closed at this many changes ...",
	    CONF_INT, 0, AT(group_rows), .standard = "10000", .min = 1, .max = 10000000 },
	{ "source.group_time", "... or after this time.", CONF_TIME, 0, AT(group_ms),
	    .standard = "5ms", .min = 0, .max = 60000 },
	{ "source.on_large",
	    "A row larger than Kafka's message.max.bytes: in chunks that sinks of Towline join, its key to the dead-letter topic, or stop.",
	    CONF_INDEX, 0, AT(on_large), .standard = "chunk", .choices = "chunk|dead-letter|stop" },

	{ "snapshot.mode",
	    "Rows that were there before the slot, or before their table joined: copied (initial), or left where they are (never).",
	    CONF_INDEX, CONF_SHORT, AT(snapshot), .standard = "initial", .choices = "initial|never" },
	{ "snapshot.jobs", "Connections that read them.", CONF_INT, 0, AT(snapshot_jobs), .standard = "2", .min = 1, .max = 32 },
	{ "snapshot.rows", "Most rows that are read at once: what is lost of a copy when the producer is killed, for each connection.",
	    CONF_INT, 0, AT(snapshot_rows), .standard = "10000", .min = 1, .max = 10000000 },

	{ "synchronous.mode",
	    "What a commit waits for where synchronous_standby_names names the slot: nothing, that Kafka has it, or that sinks applied it.",
	    CONF_INDEX, CONF_SHORT, AT(synchronous), .standard = "off", .choices = "off|kafka|applied" },
	{ "synchronous.sinks", "Which sinks must have it: NAME, NAME (all of these) or ANY n (NAME, ...); without it, all sinks.",
	    CONF_TEXT, 0, AT(synchronous_sinks), .sample = "ANY 1 (reports, edge)" },

	{ "tables",
	    "Tables to copy: SCHEMA.TABLE with * and ?, or /REGEX/; '!' leaves out; the last that matches wins. Nothing: every table.",
	    CONF_TABLES, CONF_OPEN, AT(tables), .sample = "[public.*, \"!public.audit_*\"]" },

	{ "rows", "Which rows of a table are copied: SCHEMA.TABLE: CONDITION in SQL, told to PostgreSQL (15 and later), which sends no "
	    "others.",
	    CONF_LIST, CONF_MAPPING | CONF_LINES, AT(rows), .sample = "{ public.orders: \"region = 'eu'\" }", .check = check_of_table },

	{ "types.decimal",
	    "How numeric and money travel, as Debezium's decimal.handling.mode: precise, double or string; sinks get each exactly.",
	    CONF_INDEX, 0, AT(types.decimal), .standard = "precise", .choices = "precise|double|string" },
	{ "types.time", "How date, time and timestamp travel, as Debezium's time.precision.mode.", CONF_INDEX, 0,
	    AT(types.time),
	    .standard = "adaptive",
	    .choices = "adaptive|adaptive_time_microseconds|connect|isostring|microseconds|nanoseconds" },
	{ "types.interval", "How intervals travel, as Debezium's interval.handling.mode: microseconds or P1Y2M3DT4H5M6.78S.", CONF_INDEX, 0,
	    AT(types.interval), .standard = "numeric", .choices = "numeric|string" },
	{ "types.binary", "How bytea travels, as Debezium's binary.handling.mode.", CONF_INDEX, 0, AT(types.binary),
	    .standard = "bytes", .choices = "bytes|base64|base64-url-safe|hex" },
	{ "types.hstore", "How hstore travels, as Debezium's hstore.handling.mode: JSON text, or a map.", CONF_INDEX, 0, AT(types.hstore),
	    .standard = "json", .choices = "json|map" },
	{ "types.money", "Digits of money's fraction that travel, as Debezium's money.fraction.digits.", CONF_INT, 0, AT(types.money),
	    .standard = "2", .max = 18 },
	{ "types.structures",
	    "How geometric types, PostGIS' and pgvector's travel: as Debezium's structures, or as PostgreSQL's text.", CONF_INDEX, 0,
	    AT(types.structures), .standard = "debezium", .choices = "debezium|text" },

	{ "columns.exclude", "Columns that are not published: SCHEMA.TABLE.COLUMN with * and ?.", CONF_LIST, 0, AT(columns_exclude),
	    .sample = "[public.customer.notes]", .check = check_column },
	{ "columns.mask",
	    "Columns whose values are hidden before they leave: SCHEMA.TABLE.COLUMN=hash, =fixed, =null or =truncate:N.",
	    CONF_LIST, 0, AT(columns_mask), .sample = "[public.customer.email=hash, \"*.*.iban=truncate:4\"]", .check = check_mask },
	{ "columns.salt", "Secret for =hash (HMAC-SHA-256); ${NAME} and ${file:PATH} keep it out of this file.", CONF_TEXT, CONF_SECRET,
	    AT(columns_salt), .sample = "${MASK_SALT}" },

	{ "outbox.tables", "Tables whose inserted rows are events, each in the topic of its aggregate as Debezium's EventRouter has it: "
	    "SCHEMA.TABLE.",
	    CONF_LIST, CONF_SHORT, AT(outbox_tables), .sample = "[public.outbox]", .check = check_table },
	{ "outbox.topic",
	    "Their topics; {route} stands for the value of the column outbox.route, {1} or {NAME} for a group of outbox.regex.",
	    CONF_TEXT, 0, AT(outbox_topic), .standard = "outbox.event.{route}", .sample = "\"outbox.event.{route}\"",
	    .check = check_outbox_topic },
	{ "outbox.regex", "Regular expression (PCRE2) over the whole value of the column outbox.route; other rows are set aside.",
	    CONF_TEXT, 0, AT(outbox_regex), .sample = "'(?<kind>[a-z]+)/.*'" },
	{ "outbox.id", "Column that is the header id.", CONF_TEXT, 0, AT(outbox_id), .standard = "id" },
	{ "outbox.route", "Column that names the topic.", CONF_TEXT, 0, AT(outbox_route), .standard = "aggregatetype" },
	{ "outbox.key", "Column that is the record's key.", CONF_TEXT, 0, AT(outbox_key), .standard = "aggregateid" },
	{ "outbox.payload", "Column that is the record's value.", CONF_TEXT, 0, AT(outbox_payload), .standard = "payload" },
	{ "outbox.headers", "Further columns as headers: COLUMN or COLUMN=HEADER.", CONF_LIST, 0, AT(outbox_headers),
	    .sample = "[type=eventType]", .check = check_header },
	{ "outbox.envelope", "Further columns beside the payload, in a record with the field payload: COLUMN or COLUMN=FIELD.",
	    CONF_LIST, 0, AT(outbox_envelope), .sample = "[type=eventType]", .check = check_field },
	{ "outbox.partition", "Column (a whole number) that is the event's partition; NULL: by the key.", CONF_TEXT, 0,
	    AT(outbox_partition), .sample = "shard" },
	{ "outbox.timestamp", "Column that is the record's timestamp: a timestamp, or milliseconds since 1970; NULL: of the commit.",
	    CONF_TEXT, 0, AT(outbox_timestamp), .sample = "at" },
	{ "outbox.tombstones", "An event with an empty payload has no value, whatever outbox.envelope says.", CONF_BOOL, 0,
	    AT(outbox_tombstones), .standard = "off" },
	{ "outbox.expand",
	    "The payload is JSON, and is written as what it says: with format avro as a record, beside outbox.envelope as JSON.",
	    CONF_BOOL, 0, AT(outbox_expand), .standard = "off" },
	{ "outbox.format", "text: key and value as they are. avro: in Avro, with the columns' schemas.", CONF_INDEX, 0, AT(outbox_format),
	    .standard = "text", .choices = "text|avro" },

	{ "kafka.brokers",
	    "Where Kafka is: HOST:PORT, a list of them, or 'embedded' (in memory, for trials). 'kafka: HOST:PORT' is short for it.",
	    CONF_HOSTS, CONF_SHORT | CONF_OPEN, AT(brokers), .standard = "localhost:9092" },
	{ "kafka.topic", "Topic of a table.", CONF_TEXT, 0, AT(topic),
	    .standard = "{name}.{schema}.{table}", .sample = "\"{name}.{schema}.{table}\"",
	    .check = check_topic },
	{ "kafka.topics", "Tables with a topic of their own: SCHEMA.TABLE: TOPIC, with {name}, {schema}, {table} as above.", CONF_LIST,
	    CONF_MAPPING | CONF_LINES, AT(topics), .sample = "{ public.orders: sales }", .check = check_topic_of },
	{ "kafka.keys", "Tables whose records have another key than the primary key: SCHEMA.TABLE: COLUMN, COLUMN.", CONF_LIST,
	    CONF_MAPPING | CONF_LINES, AT(keys), .sample = "{ public.orders: customer_id }", .check = check_of_table },
	{ "kafka.partitions", "Partitions of a topic that Towline makes.", CONF_INT, 0,
	    AT(partitions), .standard = "6", .min = 1, .max = 10000 },
	{ "kafka.replication",
	    "Replicas of a topic that Towline makes; -1: what the broker has as its default.",
	    CONF_INT, 0, AT(replication), .standard = "-1", .min = -1, .max = 100 },
	{ "kafka.tombstones", "A null value behind each delete, by which a compacted topic forgets the key; sinks do not need it.",
	    CONF_BOOL, 0, AT(tombstones), .standard = "on" },
	{ "kafka.transactions",
	    "Each group in a Kafka transaction, for read_committed readers that are not Towline's; costs latency.",
	    CONF_BOOL, 0, AT(transactions), .standard = "off" },
	{ "kafka.options", "Handed to librdkafka as they are, as in security.protocol: SASL_SSL.",
	    CONF_PAIRS, 0, AT(kafka_options), .sample = "{ compression.type: lz4 }" },

	{ "debezium.transactions",
	    "Also write what Debezium does with provide.transaction.metadata: topic NAME.transaction, and the envelope's transaction.",
	    CONF_BOOL, 0, AT(debezium_transactions), .standard = "off" },
	{ "debezium.heartbeat", "Also write Debezium's heartbeats so often, to __debezium-heartbeat.NAME; 0: none.", CONF_TIME, 0,
	    AT(debezium_heartbeat_ms), .standard = "0", .min = 0, .max = DAY_MS },

	{ "schemas.registry",
	    "Schema Registry's URL; none: schemas are kept in a topic. 'schemas: URL' is short for it.",
	    CONF_TEXT, CONF_SHORT | CONF_URL | CONF_NONE, AT(registry), .standard = "none",
	    .check = check_registry },
	{ "schemas.user", "User name at the registry.", CONF_TEXT, 0, AT(registry_user),
	    .sample = "towline" },
	{ "schemas.password",
	    "Password at the registry; ${NAME} and ${file:PATH} keep it out of this file.",
	    CONF_TEXT, CONF_SECRET, AT(registry_password), .sample = "${REGISTRY_PASSWORD}" },
	{ "schemas.ca",
	    "File with the certificates that the registry's is checked with; without it, the system's.",
	    CONF_TEXT, 0, AT(registry_ca), .sample = "/etc/ssl/registry.pem" },
	{ "schemas.cert", "File with our certificate, PEM, where the registry asks for one.", CONF_TEXT, 0, AT(registry_cert),
	    .sample = "/etc/ssl/towline.pem" },
	{ "schemas.key", "File with its private key, PEM.", CONF_TEXT, 0, AT(registry_key), .sample = "/etc/ssl/private/towline.pem" },
	{ "schemas.subjects",
	    "What schemas are registered under: TOPIC-key and TOPIC-value, the record's full name, or TOPIC-NAME.",
	    CONF_INDEX, 0, AT(subjects), .standard = "topic", .choices = "topic|record|topic-record" },

	{ "foreign.topics",
	    "Feed the sinks from the topics of a Debezium, in Avro, instead of Towline's: names with * and ?. Needs schemas, no source.",
	    CONF_LIST, CONF_SHORT, AT(foreign_topics), .sample = "[dbz.public.*]",
	    .check = check_topics },
	{ "foreign.transactions",
	    "Topic of their transaction metadata: then whole transactions are applied, in commit order.",
	    CONF_TEXT, 0, AT(foreign_transactions), .sample = "dbz.transaction",
	    .check = check_name },
	{ "foreign.wait",
	    "How long a row may be missing that the transaction metadata counts, before the sink stops.",
	    CONF_TIME, 0, AT(foreign_wait_ms), .standard = "1m", .min = 1000, .max = DAY_MS },

	{ "http.listen",
	    "Where metrics and health are served over HTTP: HOST:PORT; none: nowhere. 'http: HOST:PORT' is short for it.",
	    CONF_TEXT, CONF_SHORT | CONF_NONE, AT(http_listen), .standard = "none", .sample = "127.0.0.1:9187",
	    .check = check_listen },

	{ "log.level", "error, warn, info or debug. 'log: LEVEL' is short for it.", CONF_CHOICE,
	    CONF_SHORT, AT(log_level), .standard = "info", .choices = "error|warn|info|debug" },
	{ "log.format", "auto (text on a terminal, else logfmt), text, logfmt or json.",
	    CONF_CHOICE, 0, AT(log_format), .standard = "auto",
	    .choices = "auto|text|logfmt|json" },
};

const struct conf_option conf_sink_options[] = {
	{ "url", "The database to write: postgres://USER@HOST/DATABASE or sqlite:PATH. 'sinks: { NAME: URL }' is short for it.",
	    CONF_TEXT, CONF_SHORT | CONF_URL | CONF_OPEN, SINK(url), .sample = "postgres://towline@db2/inventory",
	    .check = check_database },
	{ "schema", "PostgreSQL: the schema that every table goes to; without it, the same as at the source.",
	    CONF_TEXT, 0, SINK(schema), .sample = "public", .check = check_ident },
	{ "tables", "Which of the pipeline's tables this sink takes, written as 'tables' above. Nothing: all of them.",
	    CONF_TABLES, 0, SINK(tables), .sample = "[\"!public.audit_*\"]" },
	{ "rename", "Tables that are called otherwise at this sink: SCHEMA.TABLE: NEW or OTHER.NEW, or whole schemas, SCHEMA.*: OTHER.*.",
	    CONF_LIST, CONF_MAPPING, SINK(rename), .sample = "{ public.orders: sales.orders2 }", .check = check_rename },
	{ "columns.exclude", "Columns that this sink does not get: SCHEMA.TABLE.COLUMN with * and ?.", CONF_LIST, 0,
	    SINK(columns_exclude), .sample = "[public.customer.notes]", .check = check_column },
	{ "columns.rename", "Columns that are called otherwise at this sink: SCHEMA.TABLE.COLUMN: NEW.", CONF_LIST, CONF_MAPPING,
	    SINK(columns_rename), .sample = "{ public.customer.mail: email }", .check = check_column_rename },
	{ "apply", "transaction: whole source transactions in commit order. key: order per key only, most rows per second.",
	    CONF_CHOICE, 0, SINK(apply), .standard = "transaction", .choices = "transaction|key" },
	{ "create_tables", "Make tables that are missing.",
	    CONF_BOOL, 0, SINK(create_tables), .standard = "true" },
	{ "on_schema_change", "What a change of a table's columns does: apply it to the sink, stop, or ignore it.",
	    CONF_CHOICE, 0, SINK(on_schema_change), .standard = "apply", .choices = "apply|stop|ignore" },
	{ "on_error", "What a row does that the sink refuses: stop, or go to the dead-letter topic.",
	    CONF_INDEX, 0, SINK(on_error), .standard = "stop", .choices = "stop|dead-letter" },
	{ "lanes", "apply: key: connections at work at once; the number stays as long as the sink.",
	    CONF_INT, 0, SINK(lanes), .standard = "4", .min = 1, .max = 64 },
	{ "batch_rows", "Most rows in one batch.",
	    CONF_INT, 0, SINK(batch_rows), .standard = "10000", .min = 1, .max = 10000000 },
	{ "batch_bytes", "Most bytes in one batch. Without it, a fourteenth of what memory leaves for the sink.",
	    CONF_SIZE, 0, SINK(batch_bytes), .sample = "8MB", .min = 64 * 1024, .max = 1024 * MB },
	{ "delay", "Keep this sink so far behind on purpose: a transaction is applied when its commit is that old.",
	    CONF_TIME, 0, SINK(delay_ms), .standard = "0", .min = 0, .max = 365 * DAY_MS },
};

const int conf_noptions = COUNTOF(conf_options);
const int conf_nsink_options = COUNTOF(conf_sink_options);

struct conf_target
conf_target_root(struct conf *c)
{
	return (struct conf_target){ c, c->origins, "", conf_options, conf_noptions };
}

struct conf_target
conf_target_sink(struct conf *c, struct conf_sink *s)
{
	const char *prefix = arena_printf(&c->arena, "sinks.%s.", s->name);

	return (struct conf_target){ s, s->origins, prefix, conf_sink_options, conf_nsink_options };
}

const struct conf_option *
conf_option_find(const struct conf_target *to, const char *path)
{
	for (int i = 0; i < to->noptions; i++)
		if (strcmp(to->options[i].path, path) == 0)
			return &to->options[i];
	return NULL;
}

/* Does path stand under section ("source" of "source.url"; everything under "")? */
static bool
stands_under(const char *path, const char *section)
{
	size_t n = strlen(section);

	return n == 0 || (strncmp(path, section, n) == 0 && path[n] == '.');
}

const struct conf_option *
conf_option_short(const struct conf_target *to, const char *section)
{
	for (int i = 0; i < to->noptions; i++)
		if (to->options[i].flags & CONF_SHORT && stands_under(to->options[i].path, section))
			return &to->options[i];
	return NULL;
}

bool
conf_is_section(const struct conf_target *to, const char *section)
{
	for (int i = 0; i < to->noptions; i++)
		if (*section && stands_under(to->options[i].path, section))
			return true;
	return false;
}
