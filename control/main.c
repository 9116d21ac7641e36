#include "control/command.h"

#include "core/stop.h"

#include <malloc.h>

/*
 * librdkafka has a thread for each broker and handle, and glibc would give each a heap of its own, from which what another thread frees is
 * never given back: a tenth of our memory, for nothing, as the hot paths allocate by arena.
 */
enum { HEAPS = 2 };

int
main(int argc, char **argv)
{
	struct err err = { 0 };

	mallopt(M_ARENA_MAX, HEAPS);
	if (stop_install(&err)) {
		command_report(&err, false);
		return (int)err.exit;
	}
	return command_main(argc, argv);
}
