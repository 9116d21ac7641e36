/*
 * threads.c - C11 threads by way of POSIX ones, linked into MODE=tsan builds only.
 *
 * librdkafka uses <threads.h>; gcc 12's ThreadSanitizer does not know thrd_create and crashes in the first
 * thread that it did not see begin. These take precedence over the C library's and are seen.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "a mtx_t holds a pthread_mutex_t");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "a cnd_t holds a pthread_cond_t");

#define MTX(m) ((pthread_mutex_t *)(void *)(m))
#define CND(c) ((pthread_cond_t *)(void *)(c))

struct start {
	thrd_start_t func;
	void *arg;
};

static int
result(int code)
{
	return code == 0	? thrd_success
	    : code == EBUSY	? thrd_busy
	    : code == ETIMEDOUT ? thrd_timedout
	    : code == ENOMEM	? thrd_nomem
				: thrd_error;
}

static void *
begin(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	return (void *)(intptr_t)s.func(s.arg);
}

int
thrd_create(thrd_t *thr, thrd_start_t func, void *arg)
{
	struct start *s = malloc(sizeof *s);

	if (!s)
		return thrd_nomem;
	*s = (struct start){ func, arg };
	return result(pthread_create(thr, NULL, begin, s));
}

int
thrd_join(thrd_t thr, int *res)
{
	void *out;
	int code = pthread_join(thr, &out);

	if (code == 0 && res)
		*res = (int)(intptr_t)out;
	return result(code);
}

int
thrd_detach(thrd_t thr)
{
	return result(pthread_detach(thr));
}

int
mtx_init(mtx_t *m, int type)
{
	pthread_mutexattr_t a;
	int code;

	pthread_mutexattr_init(&a);
	if (type & mtx_recursive)
		pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	code = pthread_mutex_init(MTX(m), &a);
	pthread_mutexattr_destroy(&a);
	return result(code);
}

int
mtx_lock(mtx_t *m)
{
	return result(pthread_mutex_lock(MTX(m)));
}

int
mtx_trylock(mtx_t *m)
{
	return result(pthread_mutex_trylock(MTX(m)));
}

int
mtx_unlock(mtx_t *m)
{
	return result(pthread_mutex_unlock(MTX(m)));
}

void
mtx_destroy(mtx_t *m)
{
	pthread_mutex_destroy(MTX(m));
}

int
cnd_init(cnd_t *c)
{
	return result(pthread_cond_init(CND(c), NULL));
}

int
cnd_signal(cnd_t *c)
{
	return result(pthread_cond_signal(CND(c)));
}

int
cnd_broadcast(cnd_t *c)
{
	return result(pthread_cond_broadcast(CND(c)));
}

int
cnd_wait(cnd_t *c, mtx_t *m)
{
	return result(pthread_cond_wait(CND(c), MTX(m)));
}

int
cnd_timedwait(cnd_t *restrict c, mtx_t *restrict m, const struct timespec *restrict until)
{
	return result(pthread_cond_timedwait(CND(c), MTX(m), until));
}

void
cnd_destroy(cnd_t *c)
{
	pthread_cond_destroy(CND(c));
}
