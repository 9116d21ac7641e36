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
