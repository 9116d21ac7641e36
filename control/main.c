#include "control/command.h"

#include "core/stop.h"

int
main(int argc, char **argv)
{
	struct err err = { 0 };

	if (stop_install(&err)) {
		command_report(&err, false);
		return (int)err.exit;
	}
	return command_main(argc, argv);
}
