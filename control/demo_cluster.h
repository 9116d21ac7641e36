/*
 * demo_cluster.h - a PostgreSQL server that belongs to this process: made by initdb, reached
 * through a socket in its own directory only, and gone with the process whatever ends it.
 */
#ifndef CONTROL_DEMO_CLUSTER_H
#define CONTROL_DEMO_CLUSTER_H

#include "core/arena.h"
#include "core/err.h"

#include <sys/types.h>

/* The server's programs, and who runs them: PostgreSQL refuses root. */
struct demo_tools {
	const char *bindir;
	bool root; /* we are: change to uid and gid */
	uid_t uid;
	gid_t gid;
};

struct demo_cluster {
	const struct demo_tools *tools;
	const char *name, *data, *socket, *log; /* socket: a directory */
	pid_t pid;				/* of the postmaster; 0: not running */
};

/*
 * Look for initdb and postgres in $PATH, where pg_config says, and in the distributions'
 * directories, newest version first. FATAL with EXIT_UNREACHABLE and the command that installs
 * them.
 */
enum rc demo_tools_find(struct arena *a, struct demo_tools *out, struct err *err) MUST_CHECK;

/*
 * Make and start dir/name. Before any thread starts, for it forks. Whatever is returned,
 * demo_cluster_stop. A stop that is asked for meanwhile is RETRY with EXIT_INTERRUPTED.
 */
enum rc demo_cluster_start(const struct demo_tools *tools, struct arena *a, const char *dir,
    const char *name, struct demo_cluster *out, struct err *err) MUST_CHECK;

/* postgresql://... of one database. */
const char *demo_cluster_url(const struct demo_cluster *c, struct arena *a, const char *database);

/* keep: leave the data in order; else just end. */
void demo_cluster_stop(struct demo_cluster *c, bool keep);

#endif
