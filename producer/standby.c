#include "producer/standby.h"

void
standby_published(struct standby *s, uint64_t no, uint64_t lsn)
{
	int last = (s->first + s->n - 1) % STANDBY_MARKS;

	if (s->n && (s->marks[last].no == no || s->n == STANDBY_MARKS)) {
		s->marks[last].no = no;
		s->marks[last].lsn = lsn;
		return;
	}
	last = (s->first + s->n++) % STANDBY_MARKS;
	s->marks[last].no = no;
	s->marks[last].lsn = lsn;
}

uint64_t
standby_applied(struct standby *s, uint64_t no)
{
	while (s->n && s->marks[s->first].no <= no) {
		if (s->marks[s->first].lsn > s->lsn)
			s->lsn = s->marks[s->first].lsn;
		s->first = (s->first + 1) % STANDBY_MARKS;
		s->n--;
	}
	return s->lsn;
}

void
standby_heard(struct standby_sinks *s, const struct quorum *q, struct slice sink, const struct applied *said, uint64_t gen, uint64_t token,
    uint64_t sent)
{
	if (said->gen != gen || said->token != token || said->no > sent)
		return;
	for (int i = 0; i < q->nmembers; i++)
		if (slice_is(sink, q->members[i]))
			s->at[i] = said->no;
}
