#include "producer/committer.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* Less than librdkafka's own limit of a request (core/kafka.c: socket.timeout.ms), behind which it would send EndTxn once more. */
enum { COMMIT_MS = 15000 };

enum commit_state { COMMIT_NONE = 0, COMMIT_ASKED, COMMIT_RUNS, COMMIT_ANSWERED };

struct committer {
	pthread_t thread;
	int wake;
	pthread_mutex_t lock; /* of all below */
	pthread_cond_t work;
	enum commit_state state;
	rd_kafka_t *rk;
	rd_kafka_error_t *answer;
	bool stop;
};

static void *
committer_main(void *arg)
{
	static const uint64_t one = 1;
	struct committer *c = arg;

	pthread_mutex_lock(&c->lock);
	for (;;) {
		rd_kafka_error_t *answer;
		rd_kafka_t *rk;

		while (!c->stop && c->state != COMMIT_ASKED)
			pthread_cond_wait(&c->work, &c->lock);
		if (c->stop)
			break;
		c->state = COMMIT_RUNS;
		rk = c->rk;
		pthread_mutex_unlock(&c->lock);
		answer = rd_kafka_commit_transaction(rk, COMMIT_MS);
		pthread_mutex_lock(&c->lock);
		c->answer = answer;
		c->state = COMMIT_ANSWERED;
		if (write(c->wake, &one, sizeof one) < 0)
			die("eventfd");
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

struct committer *
committer_start(int wake)
{
	struct committer *c = calloc(1, sizeof *c);

	if (!c)
		die("out of memory");
	c->wake = wake;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->work, NULL);
	if (pthread_create(&c->thread, NULL, committer_main, c))
		die("cannot start a thread");
	return c;
}

void
committer_ask(struct committer *c, rd_kafka_t *rk)
{
	pthread_mutex_lock(&c->lock);
	assert(c->state == COMMIT_NONE);
	c->state = COMMIT_ASKED;
	c->rk = rk;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
}

bool
committer_answer(struct committer *c, rd_kafka_error_t **answer)
{
	bool answered;

	pthread_mutex_lock(&c->lock);
	answered = c->state == COMMIT_ANSWERED;
	if (answered) {
		*answer = c->answer;
		c->answer = NULL;
		c->state = COMMIT_NONE;
	}
	pthread_mutex_unlock(&c->lock);
	return answered;
}

void
committer_stop(struct committer *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->work);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	if (c->answer)
		rd_kafka_error_destroy(c->answer);
	pthread_cond_destroy(&c->work);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
