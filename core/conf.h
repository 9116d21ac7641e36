/*
 * conf.h - the configuration: one table of options feeds the YAML file, the environment, the command
 * line's --set, `config show` and the documentation.
 *
 * Order: --set KEY=VALUE, then environment TOWLINE_<KEY> (dots become _, upper case), then file, then default.
 * ${NAME} and ${file:PATH} are expanded in every value of the file; an unset variable is an error.
 */
#ifndef CORE_CONF_H
#define CORE_CONF_H

#include "core/arena.h"
#include "core/err.h"
#include "core/pattern.h"
#include "core/table.h"

/* One of `tables:` (core/pattern.h); the first match from the end wins. */
struct conf_table {
	const char *pattern;
	struct pattern_regex *regex; /* NULL: none; of the pattern */
	bool exclude; /* written "!pattern" */
};

struct conf_pair {
	const char *key, *value;
};

enum on_error { ON_ERROR_STOP = 0, ON_ERROR_DEADLETTER };
enum on_large { LARGE_CHUNK = 0, LARGE_DEADLETTER, LARGE_STOP };

/* Are tables copied that were there before the slot, or join later? */
enum snapshot_mode { SNAPSHOT_INITIAL = 0, SNAPSHOT_NEVER };

/* What a commit at the source waits for when PostgreSQL's synchronous_standby_names names us: that Kafka, or sinks, have it. */
enum synchronous { SYNC_OFF = 0, SYNC_KAFKA, SYNC_APPLIED };

enum outbox_format { OUTBOX_TEXT = 0, OUTBOX_AVRO };

/* What schemas are registered under. */
enum subjects { SUBJECTS_TOPIC = 0, SUBJECTS_RECORD, SUBJECTS_TOPIC_RECORD };

struct conf_sink {
	const char *name, *url;
	const char *schema;     /* PostgreSQL: put every table into this schema; NULL: as at the source */
	struct conf_table *tables; /* of the pipeline's, those that this sink takes; none: all */
	int ntables;
	const char *rename;     /* SCHEMA.TABLE=NEW, SCHEMA.*=OTHER.*, with commas; NULL: none. consumer/mapping.h reads it */
	const char *columns_exclude, *columns_rename; /* SCHEMA.TABLE.COLUMN[=NEW], likewise */
	const char *apply;      /* transaction | key */
	bool create_tables;
	const char *on_schema_change; /* apply | stop | ignore */
	enum on_error on_error;
	int64_t lanes;          /* of apply: key */
	int64_t batch_rows;     /* most rows in one batch */
	int64_t batch_bytes;    /* 0: by memory (consumer/fetch.h) */
	int64_t delay_ms;       /* a transaction is applied when its commit is so old */
	bool awaited;           /* synchronous.mode: applied, and commits at the source wait for this sink */
	const char **origins;   /* of each option of a sink, in the order of the table */
};

struct conf {
	struct arena arena;     /* holds everything below */
	const char *path;       /* of the file; NULL: none */
	const char *name;       /* topic prefix; slot, publication and marker names follow from it */
	const char *node;       /* this node's name in the spine */
	const char *source_url; /* NULL: no source */
	const char *slot, *publication; /* default towline_<name>, made fit for PostgreSQL */
	int64_t heartbeat_ms;
	bool failover;          /* PostgreSQL 17: the slot is kept on standbys too */
	int64_t group_rows, group_ms; /* a group is closed at this many changes, or after this many ms */
	enum on_large on_large; /* a row that is larger than a record of Kafka may be */
	enum snapshot_mode snapshot;
	int64_t snapshot_jobs, snapshot_rows; /* connections; most rows of a chunk */
	enum synchronous synchronous;
	const char *synchronous_sinks; /* as in quorum.h; NULL: all of them */
	struct conf_table *tables;
	int ntables;
	const char *rows;       /* SCHEMA.TABLE=CONDITION, with newlines (conf_of_table); NULL: every row */
	struct type_modes types; /* in which of Debezium's forms values travel */
	const char *columns_exclude, *columns_mask; /* SCHEMA.TABLE.COLUMN[=MASK], with commas; NULL: none */
	const char *columns_salt; /* of =hash */
	const char *outbox_tables; /* SCHEMA.TABLE with * and ?, with commas: rows inserted there are events; NULL: none */
	const char *outbox_topic;  /* outbox.event.{route}; {1}, {NAME}: groups of the regex */
	const char *outbox_regex;  /* over all of a route; NULL: none */
	struct pattern_regex *outbox_groups; /* compiled */
	const char *outbox_id, *outbox_route, *outbox_key, *outbox_payload; /* columns */
	const char *outbox_headers; /* COLUMN or COLUMN=HEADER, with commas; NULL: none but id */
	const char *outbox_envelope; /* likewise, as fields beside the payload; NULL: the value is the payload */
	const char *outbox_partition, *outbox_timestamp; /* columns; NULL: by the key, of the commit */
	bool outbox_tombstones; /* an empty payload is no value */
	bool outbox_expand;     /* the payload is JSON, and is written as what it says */
	enum outbox_format outbox_format;
	const char *brokers;    /* host:port,...; "embedded": the in-process broker */
	bool embedded;
	const char *topic;      /* template: {name}.{schema}.{table} */
	const char *topics;     /* SCHEMA.TABLE=TEMPLATE, with newlines (conf_of_table): topics of their own; NULL: none */
	const char *keys;       /* SCHEMA.TABLE=COLUMN, ..., likewise: keys of records that are not the tables'; NULL: none */
	int64_t partitions, replication;
	bool tombstones;        /* a null value behind each delete */
	bool transactions;      /* each group in a Kafka transaction */
	struct conf_pair *kafka_options; /* for librdkafka as they are */
	int nkafka_options;
	bool debezium_transactions;     /* also write Debezium's transaction metadata */
	int64_t debezium_heartbeat_ms;  /* and its heartbeats; 0: none */
	const char *registry;   /* URL; NULL: none */
	const char *registry_user, *registry_password, *registry_ca;
	const char *registry_cert, *registry_key; /* of the client, PEM */
	enum subjects subjects;
	const char *foreign_topics; /* patterns, with commas: sinks are fed from these, which others write; NULL: none */
	const char *foreign_transactions; /* topic of their transaction metadata; NULL: none */
	int64_t foreign_wait_ms; /* for a row that its transaction counts */
	struct conf_sink *sinks;
	int nsinks;
	int64_t memory_bytes;   /* of one process, from which its queues and batches follow */
	const char *http_listen; /* HOST:PORT; NULL: no HTTP */
	const char *log_level, *log_format;
	const char **origins;   /* of each option, in the order of the table */
	const char **kafka_origins; /* of each of kafka_options */
};

/*
 * Read path (NULL: environment and sets only), apply `sets` ("kafka.partitions=6"; nsets of them), and check. On
 * FATAL the text is "file:line:col: ..." and, after a newline, the line and a caret under it; a
 * misspelt key gets "did you mean". exit is EXIT_CONFIG. c is zeroed by the caller; conf_free releases.
 */
enum rc conf_load(struct conf *c, const char *path, const char *const *sets, int nsets, struct err *err) MUST_CHECK;
void conf_free(struct conf *c);

/*
 * A sink that no file names, with the defaults; in own, which is zeroed by the caller and holds nothing else (conf_free).
 * FATAL/EXIT_CONFIG: the name or the URL will not do.
 */
enum rc conf_sink_new(struct conf *own, const char *name, const char *url, int64_t delay_ms, const struct conf_sink **out,
    struct err *err) MUST_CHECK;

/* The sink of that name, or NULL. */
const struct conf_sink *conf_sink(const struct conf *c, const char *name);

/*
 * Does a table belong to this pipeline? No patterns: every table does. A table that no pattern matches
 * belongs only if the list begins with an exclusion (then it means "all but these").
 */
bool conf_wants(const struct conf *c, struct slice schema, struct slice table);

/* Likewise: does this sink take it, of those that belong to the pipeline? */
bool conf_sink_wants(const struct conf_sink *s, struct slice schema, struct slice table);

/*
 * What a list of SCHEMA.TABLE=VALUE, with newlines between, has for a table; names may have * and ?, the last that matches wins.
 * Empty: nothing.
 */
struct slice conf_of_table(const char *lines, struct slice schema, struct slice table);

/* Is the table in a list of SCHEMA.TABLE with * and ?, with commas between? */
bool conf_lists(const char *list, struct slice schema, struct slice table);

/* The schema of a table that is named without one: public; main of a SQLite source. */
struct slice conf_schema(const struct conf *c);

/* A URL or libpq's "key=value ..." without its passwords: into a, for logs and --json. */
const char *conf_mask_url(struct arena *a, const char *url);

/* Everything that holds, one "key value origin" a line (origin: default | FILE:LINE | environment | --set), or JSON. Secrets masked. */
struct buf;
void conf_show(const struct conf *c, bool json, struct buf *out);

/* The documented sample configuration, made from the same table; what is not needed stands as "#key: default". */
void conf_example(struct buf *out);

#endif
