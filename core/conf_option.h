/*
 * conf_option.h - inside of the configuration: the table of options, and how a value with its place gets
 * into struct conf. For conf*.c only.
 */
#ifndef CORE_CONF_OPTION_H
#define CORE_CONF_OPTION_H

#include "core/conf.h"

enum conf_type {
	CONF_TEXT,   /* const char * */
	CONF_HOSTS,  /* const char *, comma separated; a list in the file */
	CONF_LIST,   /* the same, of anything */
	CONF_CHOICE, /* const char *, one of choices */
	CONF_INDEX,  /* int: index into choices */
	CONF_BOOL,   /* bool */
	CONF_INT,    /* int64_t */
	CONF_SIZE,   /* int64_t, bytes */
	CONF_TIME,   /* int64_t, milliseconds */
	CONF_TABLES, /* tables, ntables: of the configuration or of a sink */
	CONF_PAIRS,  /* kafka_options, nkafka_options */
};

enum conf_flag {
	CONF_SHORT = 1,    /* `section: VALUE` means this option */
	CONF_SECRET = 2,   /* never shown */
	CONF_URL = 4,      /* shown without its password */
	CONF_OPEN = 8,     /* the sample has it live, not commented out */
	CONF_NONE = 16,    /* "none" means NULL */
	CONF_MAPPING = 32, /* a list of KEY=VALUE that the file may have as a mapping */
	CONF_LINES = 64,   /* a list whose items may have commas: with newlines between them */
};

struct conf_option {
	const char *path; /* "source.url"; of a sink: without "sinks.NAME." */
	const char *help; /* one sentence, or two */
	enum conf_type type;
	unsigned flags;
	size_t offset;
	const char *standard; /* the default as one would write it; NULL: none. <name> stands for the name, made fit for the place */
	const char *sample;   /* for the example; NULL: as standard */
	const char *choices;  /* "a|b|c" */
	int64_t min, max;
	const char *(*check)(const char *text); /* a complaint that follows the option's name, or NULL */
};

extern const struct conf_option conf_options[], conf_sink_options[];
extern const int conf_noptions, conf_nsink_options;

/* Where a value stands. */
struct conf_place {
	const char *what;   /* the file's path, "--set", "environment TOWLINE_X" */
	const char *origin; /* for conf_show */
	struct slice text;  /* the whole file; empty: not a file */
	int line, col;      /* from 1; 0: no place in particular */
};

struct conf_item {
	struct conf_place at;
	const char *text; /* expanded */
};

/* What options are written into: the configuration itself or one sink. */
struct conf_target {
	void *base;
	const char **origins;
	const char *prefix; /* "" or "sinks.NAME." for messages */
	const struct conf_option *options;
	int noptions;
};

struct conf_loader {
	struct conf *conf;
	struct err *err;
	int sinks_cap;
	struct conf_place *sink_places; /* where each sink was first named */
};

/* FATAL with "file:line:col: text", the line and a caret under the place. */
enum rc conf_fail(struct conf_loader *ld, const struct conf_place *at, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Write items into the option. A list where the option takes one value is an error, as is an option twice in the file. */
enum rc conf_set(struct conf_loader *ld, const struct conf_target *to, const struct conf_option *opt,
    const struct conf_item *items, int n, bool list) MUST_CHECK;
enum rc conf_set_defaults(struct conf_loader *ld, const struct conf_target *to) MUST_CHECK;
enum rc conf_set_pair(struct conf_loader *ld, const char *key, const struct conf_item *item) MUST_CHECK;

/* "64MB", "10s", "6": as one would write it. In a. */
const char *conf_number_text(struct arena *a, enum conf_type type, int64_t v);

struct conf_target conf_target_root(struct conf *c);
struct conf_target conf_target_sink(struct conf *c, struct conf_sink *s);

/* The sink of that name; made, with its defaults, when there is none. */
enum rc conf_sink_add(struct conf_loader *ld, const char *name, const struct conf_place *at, struct conf_sink **out) MUST_CHECK;

/* The option with that path, the option that `section: VALUE` means, and whether any option stands under section. */
const struct conf_option *conf_option_find(const struct conf_target *to, const char *path);
const struct conf_option *conf_option_short(const struct conf_target *to, const char *section);
bool conf_is_section(const struct conf_target *to, const char *section);

/* "unknown key 'x'; did you mean 'y'?" among the keys right under prefix ("" for the top). */
enum rc conf_unknown(struct conf_loader *ld, const struct conf_target *to, const char *prefix, const char *key,
    const struct conf_place *at);

/* ${NAME} and ${file:PATH}; "$${" is a plain "${". */
enum rc conf_expand(struct conf_loader *ld, const struct conf_place *at, struct slice text, const char **out) MUST_CHECK;

/* Read a file of at most max bytes that holds no NUL, into the arena; false leaves why in errno-like words in *why. */
bool conf_read_file(struct arena *a, const char *path, size_t max, struct slice *out, const char **why);

/* Everything in the YAML text. The only user of libfyaml. */
enum rc conf_yaml(struct conf_loader *ld, const char *path, struct slice text) MUST_CHECK;

#endif
