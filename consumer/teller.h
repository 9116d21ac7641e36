/*
 * teller.h - tells the producer, through Kafka, what a sink has committed that commits at the source wait for (schemas/applied.h).
 *
 * A sink that is being made anew (towline resync) counts for nothing until it is whole: its marker moves on while rows are still
 * missing. Whoever resyncs a sink first writes that into the control topic, then sets its marker. So a teller that is opened after the
 * marker was read finds it there, and counts only once the word is taken back.
 */
#ifndef CONSUMER_TELLER_H
#define CONSUMER_TELLER_H

#include "core/kafka.h"
#include "schemas/applied.h"

struct teller;

/*
 * After the sink's marker was read, by the one who holds it. lazy: nobody waits for the records (the producer is in this process), so
 * one a second will do. Makes the topic when it is missing. Verdicts as of Kafka's calls.
 */
enum rc teller_open(const struct kafka *k, const struct conf_sink *sink, bool lazy, struct teller **out, struct err *err) MUST_CHECK;

/* What was said last may still arrive. NULL is fine. */
void teller_close(struct teller *t);

/* Is the sink whole? Once it is, it stays so: it is made anew by whoever holds its marker. Verdicts as of control_next, but never AGAIN. */
enum rc teller_look(struct teller *t, bool *whole, struct err *err) MUST_CHECK;

/* Say it, if it is news or a second old. Never waits; what Kafka does not take now is said again in a second. Only of a whole sink. */
void teller_say(struct teller *t, const struct applied *a);

#endif
