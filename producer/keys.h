/*
 * keys.h - kafka.keys: can the source tell by which key of its own a record goes?
 *
 * Where a row goes follows from columns that an update may change and that a delete must tell. PostgreSQL sends old values of the replica
 * identity's columns only.
 */
#ifndef PRODUCER_KEYS_H
#define PRODUCER_KEYS_H

#include "producer/publication.h"

/* Before anything is streamed. OK: t has no key of its own, or all is well. FATAL/EXIT_CONFIG, with the statement to run. */
enum rc keys_check(PGconn *conn, const struct conf *conf, const struct publication_table *t, struct err *err) MUST_CHECK;

#endif
