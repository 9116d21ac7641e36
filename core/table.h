/*
 * table.h - a table at one version: names, columns, key, and how each column travels.
 *
 * A version never changes once made; a schema change makes a new one. It lives in an arena of its own.
 * The producer makes it from RELATION and the catalogue, the consumer from the writer's Avro schema.
 */
#ifndef CORE_TABLE_H
#define CORE_TABLE_H

#include "core/base.h"

/* How a column stands in Avro. The semantic name (connect.name) says what it means. */
enum wire {
	W_BOOL = 1,
	W_INT16,      /* int with connect.type int16 */
	W_INT32,      /* int */
	W_INT64,      /* long */
	W_FLOAT,
	W_DOUBLE,
	W_STRING,
	W_BYTES,
	W_DECIMAL,    /* bytes, org.apache.kafka.connect.data.Decimal, scale and precision below */
	W_VARDECIMAL, /* record io.debezium.data.VariableScaleDecimal */
	W_ARRAY,      /* array of ["null", item] of the wire type `item` */
	W_COMPOUND,   /* a structure of Debezium's own (schemas/compound.h): value kind V_AVRO */
	W_OTHER,      /* any other schema, as foreign topics have: value kind V_AVRO */
};

/* Debezium's other forms of some types (its decimal.handling.mode and so on); 0: its default. */
enum decimal_mode { DECIMAL_PRECISE = 0, DECIMAL_DOUBLE, DECIMAL_STRING };
enum time_mode { TIME_ADAPTIVE = 0, TIME_ADAPTIVE_MICRO, TIME_CONNECT, TIME_ISO, TIME_MICRO, TIME_NANO };
enum interval_mode { INTERVAL_NUMERIC = 0, INTERVAL_STRING };
enum coded { CODED_BYTES = 0, CODED_BASE64, CODED_BASE64_URL, CODED_HEX };
enum hstore_mode { HSTORE_JSON = 0, HSTORE_MAP };
enum structures_mode { STRUCTURES_DEBEZIUM = 0, STRUCTURES_TEXT };

struct type_modes {
	enum decimal_mode decimal;
	enum time_mode time;
	enum interval_mode interval;
	enum coded binary;
	enum hstore_mode hstore;
	enum structures_mode structures; /* points, PostGIS, pgvector */
	int64_t money; /* digits of its fraction: 2 at Debezium */
};

struct compound;

struct wire_type {
	enum wire wire;
	const char *semantic;  /* connect.name, e.g. "io.debezium.time.MicroTimestamp"; NULL: none */
	int precision;         /* W_DECIMAL; 0: not given */
	int scale;             /* W_DECIMAL */
	int length;            /* parameter "length" of io.debezium.data.Bits; 0: none */
	const char *allowed;   /* parameter "allowed" of io.debezium.data.Enum: labels with commas; NULL: none */
	const char *source_type; /* parameter __debezium.source.column.type: travels as text; NULL: none */
	const struct wire_type *item; /* W_ARRAY */
	const struct compound *compound; /* W_COMPOUND: which */
	const struct wire_type *plain; /* in the form of another mode: the default one, which says what a sink makes of it; else NULL */
	enum coded coded;      /* W_STRING: bytes, written so */
};

struct column {
	struct slice name;      /* as in the catalogue; ends in a NUL */
	struct wire_type type;
	struct slice type_name; /* the source's own words: "character varying(20)"; empty: not known */
	uint32_t typid;         /* PostgreSQL: type oid at the source; 0: not known */
	int32_t typmod;         /* PostgreSQL: atttypmod; -1: none */
	bool notnull;
	bool identity;          /* part of what the source sends as old key (REPLICA IDENTITY) */
	bool has_default;       /* a default stands in the schema */
	struct slice default_json; /* the default as JSON of its Avro type, e.g. `0` or `"x"` */
	int attnum;             /* PostgreSQL: the column itself, whatever its name; 0: not known for certain */
	struct slice was;       /* the name by which the version before had this very column; empty: the same, or not known */
	bool fresh;             /* known to be new: the version before had it under no name */
	bool default_expr;      /* rows that were there when the column came got values that no schema tells: now(), nextval(), ... */
};

enum replica_identity { IDENTITY_DEFAULT = 'd', IDENTITY_NOTHING = 'n', IDENTITY_FULL = 'f', IDENTITY_INDEX = 'i' };

struct table {
	struct slice schema, name; /* end in a NUL */
	struct slice was_schema, was_name; /* what the version before was called; empty: the same, or not known */
	const char *connector;     /* Debezium's word for the kind of source; NULL: postgresql, or not known */
	bool shrunk;               /* a column was dropped from it once, so that a sink may have more */
	bool rekeyed;              /* the version before had another key: */
	int nwas_keys;
	struct slice *was_keys;    /* its columns, by the names that they have now */
	uint32_t relid;            /* PostgreSQL: oid at the source */
	uint32_t version;          /* dense per topic, from 1: stands in the `tl` header */
	char identity;             /* enum replica_identity */
	int ncols;
	struct column *cols;       /* in attnum order */
	int nkeys;                 /* 0: no key */
	int *keys;                 /* indexes into cols, in key order */
	int nmessage_keys;         /* 0: the key of its records in Kafka is the key. Else: */
	int *message_keys;         /* their columns; rows that differ may share one, and a row may get another */
};

/* The columns of a record's key; their number. */
int table_message_keys(const struct table *tbl, const int **keys);

/* May changes of one row lie under several keys of records, so in several partitions? */
bool table_key_strays(const struct table *tbl);

/* Index of the column of that name, or -1. */
int table_column(const struct table *tbl, struct slice name);

/* Is that column part of the key; of the key that the version before had? */
bool table_is_key(const struct table *tbl, int column);
bool table_was_key(const struct table *tbl, struct slice name);

/* True when both describe the same shape, of the same columns: a repeated RELATION message needs no new version. */
bool table_same(const struct table *a, const struct table *b);

#endif
