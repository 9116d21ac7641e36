#include "control/demo_cluster.h"

#include "core/buf.h"
#include "core/pg.h"
#include "core/stop.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 30000, STOP_MS = 10000, STEP_MS = 5, LOG_LINE = 300 };

/* ---- the programs ---- */

static bool
has_programs(struct arena *a, const char *dir)
{
	return *dir && access(arena_printf(a, "%s/initdb", dir), X_OK) == 0 &&
	    access(arena_printf(a, "%s/postgres", dir), X_OK) == 0;
}

/* A packager's link to initdb alone, in a directory of $PATH, leads to where the others are. */
static const char *
resolve(struct arena *a, const char *dir)
{
	char *real = realpath(arena_printf(a, "%s/initdb", dir), NULL);
	char *slash = real ? strrchr(real, '/') : NULL;

	if (slash) {
		*slash = '\0';
		dir = arena_text(a, slice_of(real));
	}
	free(real);
	return dir;
}

static const char *
find_in_path(struct arena *a)
{
	const char *path = getenv("PATH");

	while (path && *path) {
		size_t n = strcspn(path, ":");
		const char *dir = resolve(a, arena_printf(a, "%.*s", (int)n, path));

		if (has_programs(a, dir))
			return dir;
		path += n + (path[n] == ':');
	}
	return NULL;
}

static const char *
find_by_pg_config(struct arena *a)
{
	FILE *f = popen("pg_config --bindir 2>/dev/null", "re");
	char line[512] = "";
	const char *dir;

	if (!f)
		return NULL;
	if (!fgets(line, sizeof line, f))
		*line = '\0';
	pclose(f);
	line[strcspn(line, "\n")] = '\0';
	dir = arena_text(a, slice_of(line));
	return has_programs(a, dir) ? dir : NULL;
}

/* The first number behind the last "postgresql" or "pgsql" of the path. */
static long
version_in(const char *dir)
{
	const char *at = strstr(dir, "sql");

	return at ? strtol(at + 3 + strspn(at + 3, "/-"), NULL, 10) : 0;
}

static const char *
find_installed(struct arena *a)
{
	static const char *const patterns[] = { "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/usr/lib/postgresql*/bin", "/usr/local/pgsql/bin" };
	const char *best = NULL;
	glob_t g = { 0 };

	for (size_t i = 0; i < COUNTOF(patterns); i++)
		if (glob(patterns[i], i ? GLOB_APPEND : 0, NULL, &g) == GLOB_NOSPACE)
			die("out of memory");
	for (size_t i = 0; i < g.gl_pathc; i++)
		if (has_programs(a, g.gl_pathv[i]) &&
		    (!best || version_in(g.gl_pathv[i]) > version_in(best)))
			best = arena_text(a, slice_of(g.gl_pathv[i]));
	globfree(&g);
	return best;
}

enum rc
demo_tools_find(struct arena *a, struct demo_tools *out, struct err *err)
{
	const struct passwd *pw;

	*out = (struct demo_tools){ .root = geteuid() == 0 };
	out->bindir = find_in_path(a);
	if (!out->bindir)
		out->bindir = find_by_pg_config(a);
	if (!out->bindir)
		out->bindir = find_installed(a);
	if (!out->bindir)
		return fail_exit(err, FATAL, EXIT_UNREACHABLE,
		    "there is no PostgreSQL server on this machine; apt-get install -y postgresql");
	if (!out->root)
		return OK;
	pw = getpwnam("postgres");
	if (!pw)
		return fail_exit(err, FATAL, EXIT_UNREACHABLE,
		    "PostgreSQL does not run as root, and there is no user postgres; run this as"
		    " another user, or apt-get install -y postgresql");
	out->uid = pw->pw_uid;
	out->gid = pw->pw_gid;
	return OK;
}

/* ---- processes ---- */

static bool
become(const struct demo_tools *t)
{
	return !t->root ||
	    (setgroups(1, &t->gid) == 0 && setgid(t->gid) == 0 && setuid(t->uid) == 0);
}

/*
 * A process of its own session, so that Ctrl-C is for us alone; the kernel sends it death_signal
 * when we are gone, killed or not. Output goes to the log.
 */
static pid_t
spawn(const struct demo_tools *t, const char *const *argv, const char *log, int death_signal)
{
	int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644),
	    in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		setsid();
		signal(SIGPIPE, SIG_DFL);
		signal(SIGINT, SIG_DFL);
		signal(SIGTERM, SIG_DFL);
		dup2(in, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		umask(077);
		setenv("LC_ALL", "C", 1);
		/* After the change of user, which clears it. */
		if (chdir("/") || !become(t) || prctl(PR_SET_PDEATHSIG, death_signal) ||
		    getppid() != parent)
			_exit(126);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (out >= 0)
		close(out);
	if (in >= 0)
		close(in);
	return pid;
}

/* Wait until it ends, at most ms: true with its status. */
static bool
ended(pid_t pid, int ms, bool heed_stop, int *status)
{
	for (int waited = 0;; waited += STEP_MS) {
		pid_t got = waitpid(pid, status, WNOHANG);

		if (got == pid || (got < 0 && errno != EINTR))
			return true;
		if (waited >= ms || (heed_stop && stop_requested()))
			return false;
		poll(NULL, 0, STEP_MS);
	}
}

/* The last line of a log that says something. */
static const char *
last_words(struct arena *a, const char *log)
{
	FILE *f = fopen(log, "re");
	char line[LOG_LINE], last[LOG_LINE] = "no output";

	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[strspn(line, " \t")])
			snprintf(last, sizeof last, "%s", line);
	}
	if (f)
		fclose(f);
	return arena_text(a, slice_of(last));
}

static enum rc
interrupted(struct err *err)
{
	return fail_exit(err, RETRY, EXIT_INTERRUPTED, "stopped before it began");
}

/* ---- a cluster ---- */

static enum rc
make_dir(const struct demo_tools *t, const char *path, struct err *err)
{
	if (mkdir(path, 0700) || (t->root && chown(path, t->uid, t->gid)))
		return fail(err, FATAL, "cannot make the directory %s: %s", path, strerror(errno));
	return OK;
}

static enum rc
initdb(struct demo_cluster *c, struct arena *a, struct err *err)
{
	const char *const argv[] = { arena_printf(a, "%s/initdb", c->tools->bindir), "-D", c->data,
		"-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync",
		"--no-instructions", NULL };
	pid_t pid = spawn(c->tools, argv, c->log, SIGKILL);
	int status = 0;

	if (pid < 0)
		return fail(err, FATAL, "cannot start %s: %s", argv[0], strerror(errno));
	if (!ended(pid, START_MS * 2, true, &status)) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		return stop_requested()
		    ? interrupted(err)
		    : fail(err, FATAL, "initdb does not come to an end; its output is in %s",
			  c->log);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return OK;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
		return fail_exit(err, FATAL, EXIT_UNREACHABLE,
		    "cannot become the user postgres, and PostgreSQL does not run as root; run"
		    " this as another user");
	return fail_exit(err, FATAL, EXIT_UNREACHABLE, "initdb failed: %s", last_words(a, c->log));
}

static enum rc
await_ready(struct demo_cluster *c, struct arena *a, struct err *err)
{
	const char *url = demo_cluster_url(c, a, "postgres");

	for (int waited = 0; waited < START_MS; waited += STEP_MS) {
		int status;

		if (PQping(url) == PQPING_OK)
			return OK;
		if (ended(c->pid, 0, false, &status)) {
			c->pid = 0;
			return fail_exit(err, FATAL, EXIT_UNREACHABLE,
			    "PostgreSQL does not start: %s", last_words(a, c->log));
		}
		if (stop_requested())
			return interrupted(err);
		poll(NULL, 0, STEP_MS);
	}
	return fail_exit(err, FATAL, EXIT_UNREACHABLE, "PostgreSQL does not answer in %s: %s",
	    c->socket, last_words(a, c->log));
}

/*
 * fsync is off: nothing here is to outlive the machine. Commit times are for measuring the lag. In
 * the file, for a cluster that is kept.
 */
static enum rc
write_settings(struct demo_cluster *c, struct arena *a, struct err *err)
{
	FILE *f = fopen(arena_printf(a, "%s/postgresql.conf", c->data), "ae");

	if (f)
		fprintf(f,
		    "listen_addresses = ''\nunix_socket_directories = '%s'\nport ="
		    " 5432\nwal_level = logical\nfsync = off\n"
		    "full_page_writes = off\nmax_wal_size = 4GB\nshared_buffers ="
		    " 64MB\nmax_connections = 50\ntrack_commit_timestamp = on\n",
		    c->socket);
	if (!f || fclose(f))
		return fail(
		    err, FATAL, "cannot write %s/postgresql.conf: %s", c->data, strerror(errno));
	return OK;
}

static enum rc
start_server(struct demo_cluster *c, struct arena *a, struct err *err)
{
	const char *const argv[] = { arena_printf(a, "%s/postgres", c->tools->bindir), "-D",
		c->data, NULL };

	c->pid = spawn(c->tools, argv, c->log, SIGQUIT);
	if (c->pid < 0) {
		c->pid = 0;
		return fail(err, FATAL, "cannot start %s: %s", argv[0], strerror(errno));
	}
	return await_ready(c, a, err);
}

enum rc
demo_cluster_start(const struct demo_tools *tools, struct arena *a, const char *dir,
    const char *name, struct demo_cluster *out, struct err *err)
{
	const char *home = arena_printf(a, "%s/%s", dir, name);
	enum rc rc;

	*out = (struct demo_cluster){ .tools = tools, .name = arena_text(a, slice_of(name)) };
	out->data = arena_printf(a, "%s/data", home);
	out->socket = arena_printf(a, "%s/socket", home);
	out->log = arena_printf(a, "%s/log", home);
	if (strlen(out->socket) + strlen("/.s.PGSQL.5432.lock") >=
	    sizeof((struct sockaddr_un *)0)->sun_path)
		return fail_exit(err, FATAL, EXIT_USAGE,
		    "the path %s is too long for a socket; choose another with --dir", dir);
	if (strpbrk(dir, "'\"\\,\n"))
		return fail_exit(err, FATAL, EXIT_USAGE,
		    "a directory with quotes, backslashes or commas in its path cannot hold a"
		    " socket; choose another with --dir");
	rc = make_dir(tools, home, err);
	if (rc == OK)
		rc = make_dir(tools, out->data, err);
	if (rc == OK)
		rc = make_dir(tools, out->socket, err);
	if (rc == OK)
		rc = initdb(out, a, err);
	if (rc == OK)
		rc = write_settings(out, a, err);
	return rc == OK ? start_server(out, a, err) : rc;
}

const char *
demo_cluster_url(const struct demo_cluster *c, struct arena *a, const char *database)
{
	struct buf b = { 0 };
	const char *url;

	buf_printf(&b,
	    "postgresql:///%s?user=postgres&sslmode=disable&gssencmode=disable&port=5432&host=",
	    database);
	for (const char *p = c->socket; *p; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
		    (*p >= '0' && *p <= '9') || strchr("/._-", *p);

		buf_printf(&b, plain ? "%c" : "%%%02X", (unsigned char)*p);
	}
	url = arena_text(a, buf_view(&b));
	buf_free(&b);
	return url;
}

void
demo_cluster_stop(struct demo_cluster *c, bool keep)
{
	const int signals[] = { keep ? SIGINT : SIGQUIT, SIGQUIT, SIGKILL };
	int status;

	for (size_t i = 0; i < COUNTOF(signals) && c->pid > 0; i++) {
		kill(c->pid, signals[i]);
		if (ended(c->pid, STOP_MS, false, &status))
			c->pid = 0;
	}
}
