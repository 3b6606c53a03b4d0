/*
 * test_pool.c
 *	  Threads: every task once, thread numbers, stopping, jumping out, signals.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "cf_pool.h"
#include "support.h"
#include "tap.h"

#define MANY	5

static void
nap(long milliseconds)
{
	struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

/* Threads of this process, or 0 where nobody tells. */
static int
threads_alive(void)
{
	FILE	   *file = fopen("/proc/self/status", "r");
	char		line[200];
	int			n = 0;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		(void) sscanf(line, "Threads: %d", &n);
	if (file != NULL)
		fclose(file);
	return n;
}

/* A thread that was joined is counted a little longer. */
static bool
threads_become(int n)
{
	double		until = seconds() + 5;

	while (threads_alive() != n && threads_alive() != 0 && seconds() < until)
		nap(1);
	return threads_alive() == n || threads_alive() == 0;
}

/*
 * What tasks do.  Where it is not atomic, the pool alone keeps threads from
 * one another, and ThreadSanitizer looks on.
 */
typedef struct work
{
	size_t		n_tasks;
	uint32_t	n_threads;
	uint32_t	meet;			/* tasks wait until so many run at once */
	long		milliseconds;	/* that a task takes */
	long		helper_milliseconds;	/* and on a helper, further */
	uint32_t   *runs;			/* of each task */
	uint64_t	sums[CF_MAX_THREADS];	/* of each thread */
	atomic_bool busy[CF_MAX_THREADS];
	atomic_uint running;
	atomic_uint arrived;
	atomic_bool bad;			/* something that must not be */
	bool		open_signals;	/* on a helper */
} work;

static void
work_init(work *w, size_t n_tasks, uint32_t n_threads)
{
	memset(w, 0, sizeof(*w));
	w->n_tasks = n_tasks;
	w->n_threads = n_threads;
	w->runs = calloc(n_tasks + 1, sizeof(uint32_t));
}

/* For so long that a test cannot hang where threads are fewer. */
static void
meet_others(work *w)
{
	double		until = seconds() + 20;

	atomic_fetch_add(&w->arrived, 1);
	while (atomic_load(&w->arrived) < w->meet && seconds() < until)
		nap(1);
	if (atomic_load(&w->arrived) < w->meet)
		atomic_store(&w->bad, true);
}

static void
do_work(void *context, size_t index, uint32_t thread)
{
	work	   *w = context;

	atomic_fetch_add(&w->running, 1);
	if (index >= w->n_tasks || thread >= w->n_threads ||
		atomic_exchange(&w->busy[thread], true))
		atomic_store(&w->bad, true);
	else
	{
		w->runs[index]++;
		w->sums[thread] += index;
		if (w->meet > 0)
			meet_others(w);
		if (w->milliseconds > 0)
			nap(w->milliseconds);
		if (thread != 0 && w->helper_milliseconds > 0)
			nap(w->helper_milliseconds);
		atomic_store(&w->busy[thread], false);
	}
	atomic_fetch_sub(&w->running, 1);
}

static size_t
tasks_run(const work *w)
{
	size_t		n = 0;
	size_t		i;

	for (i = 0; i < w->n_tasks; i++)
		n += w->runs[i];
	return n;
}

/* Did every task run exactly "times" times, and their sums come out right? */
static bool
all_ran(const work *w, uint32_t times)
{
	uint64_t	sum = 0;
	uint64_t	expected = 0;
	bool		good = !atomic_load(&w->bad) && atomic_load(&w->running) == 0;
	size_t		i;

	for (i = 0; i < w->n_tasks; i++)
	{
		expected += i * times;
		good = good && w->runs[i] == times;
	}
	for (i = 0; i < CF_MAX_THREADS; i++)
		sum += w->sums[i];
	return good && sum == expected;
}

static void
test_sums(uint32_t n_threads)
{
	test_host	test;
	cf_pool    *pool;
	work		w;
	int			before = threads_alive();
	bool		good;

	test_host_init(&test);
	work_init(&w, 20000, n_threads);
	OK(cf_pool_create(&test.host, n_threads, &pool) == CF_OK &&
	   cf_pool_threads(pool) == n_threads, "a pool of %u", n_threads);
	OK(threads_become(before + (int) n_threads - 1),
	   "which has started %u", n_threads - 1);
	OK(test.host.used >= (n_threads - 1) * 100000, "whose stacks count as memory");
	good = cf_pool_run(pool, do_work, &w, w.n_tasks) == CF_OK;
	OK(good && all_ran(&w, 1), "every task runs once");
	OK((size_t) test.polls >= 1, "the host is polled");
	cf_pool_destroy(pool);
	OK(test.blocks == 0 && test.host.used == 0, "all memory given back");
	OK(threads_become(before), "no thread is left");
	free(w.runs);
}

/* All threads at once, so each number is seen, and no number twice. */
static void
test_numbers(void)
{
	test_host	test;
	cf_pool    *pool;
	work		w;
	bool		good;

	test_host_init(&test);
	(void) cf_pool_create(&test.host, MANY, &pool);
	work_init(&w, MANY, MANY);
	w.meet = MANY;
	good = cf_pool_run(pool, do_work, &w, MANY) == CF_OK && all_ran(&w, 1);
	OK(good, "%d tasks run at once, under numbers of their own", MANY);
	cf_pool_destroy(pool);
	free(w.runs);
}

static void
test_many_runs(uint32_t n_threads)
{
	enum {RUNS = 10000, TASKS = 7};
	test_host	test;
	cf_pool    *pool;
	work		w;
	bool		good = true;
	int			i;

	test_host_init(&test);
	(void) cf_pool_create(&test.host, n_threads, &pool);
	work_init(&w, TASKS, n_threads);
	for (i = 0; i < RUNS; i++)
		good = good && cf_pool_run(pool, do_work, &w, TASKS) == CF_OK &&
			tasks_run(&w) == (size_t) (i + 1) * TASKS;
	OK(good && all_ran(&w, RUNS), "%d runs on one pool of %u", RUNS, n_threads);
	cf_pool_destroy(pool);
	free(w.runs);
}

static void
test_small(void)
{
	test_host	test;
	cf_pool    *pool;
	work		w;

	test_host_init(&test);
	work_init(&w, 1, MANY);
	(void) cf_pool_create(&test.host, MANY, &pool);
	OK(cf_pool_run(pool, do_work, &w, 0) == CF_OK && tasks_run(&w) == 0, "no tasks");
	OK(cf_pool_run(pool, do_work, &w, 1) == CF_OK && all_ran(&w, 1), "one task");
	cf_pool_destroy(pool);
	(void) cf_pool_create(&test.host, MANY, &pool);
	cf_pool_destroy(pool);
	OK(test.blocks == 0 && test.host.used == 0, "a pool that runs nothing");
	cf_pool_destroy(NULL);
	OK(cf_pool_create(&test.host, 0, &pool) == CF_OK && cf_pool_threads(pool) == 1,
	   "there is always the caller");
	cf_pool_destroy(pool);
	free(w.runs);
}

static void
test_memory(void)
{
	test_host	test;
	cf_pool    *pool;

	test_host_init(&test);
	test.fail_at = 1;
	OK(cf_pool_create(&test.host, 2, &pool) == CF_NO_MEMORY && pool == NULL, "no memory");
	test_host_init(&test);
	test.host.limit = 1000000;
	OK(cf_pool_create(&test.host, 200, &pool) == CF_MEMORY_LIMIT && pool == NULL &&
	   test.host.wanted > 1000000, "memory limit");
	OK(cf_pool_create(&test.host, 1, &pool) == CF_OK, "a pool of one needs little");
	cf_pool_destroy(pool);
	OK(test.blocks == 0 && test.host.used == 0, "all given back");
}

/* The host says stop at some poll; the pool can be used again. */
static void
test_stop(uint32_t n_threads)
{
	test_host	test;
	cf_pool    *pool;
	work		w;
	size_t		done;
	bool		good;

	test_host_init(&test);
	(void) cf_pool_create(&test.host, n_threads, &pool);
	work_init(&w, 1000, n_threads);
	w.milliseconds = 1;
	test.stop_at = 10;
	good = cf_pool_run(pool, do_work, &w, w.n_tasks) == CF_STOPPED;
	done = tasks_run(&w);
	good = good && atomic_load(&w.running) == 0 && !atomic_load(&w.bad);
	OK(good && done >= 9 && done < w.n_tasks, "%u threads stop midway", n_threads);
	nap(5);
	OK(tasks_run(&w) == done, "and none runs any more");
	test.stop_at = 0;
	memset(w.runs, 0, w.n_tasks * sizeof(uint32_t));
	memset(w.sums, 0, sizeof(w.sums));
	w.milliseconds = 0;
	good = cf_pool_run(pool, do_work, &w, w.n_tasks) == CF_OK;
	OK(good && all_ran(&w, 1), "a run after that");
	cf_pool_destroy(pool);
	free(w.runs);
}

/*
 * The caller takes a task only when a helper has one, which is long: so the
 * caller has to wait for it.
 */
static void
do_long(void *context, size_t index, uint32_t thread)
{
	work	   *w = context;

	if (thread == 0)
		while (atomic_load(&w->arrived) == 0)
			nap(1);
	atomic_fetch_add(&w->arrived, thread != 0);
	do_work(context, index, thread);
}

static void
test_waiting(void)
{
	test_host	test;
	cf_pool    *pool;
	work		w;
	bool		good;
	long		polls;

	test_host_init(&test);
	(void) cf_pool_create(&test.host, 2, &pool);
	work_init(&w, 2, 2);
	w.helper_milliseconds = 200;
	good = cf_pool_run(pool, do_long, &w, 2) == CF_OK;
	polls = test.polls;
	OK(good && all_ran(&w, 1) && polls > 5, "the host is polled while the caller waits");
	cf_pool_destroy(pool);

	test_host_init(&test);
	test.stop_at = 5;
	(void) cf_pool_create(&test.host, 2, &pool);
	memset(w.runs, 0, 2 * sizeof(uint32_t));
	memset(w.sums, 0, sizeof(w.sums));
	atomic_store(&w.arrived, 0);
	good = cf_pool_run(pool, do_long, &w, 2) == CF_STOPPED;
	OK(good && all_ran(&w, 1), "and may say stop then");
	OK(test.polls == 5, "it is not asked again");
	cf_pool_destroy(pool);
	free(w.runs);
}

/* A host that jumps out of a poll, as a server's error does. */
typedef struct jumping_host
{
	test_host	test;			/* first: support.h casts */
	jmp_buf		target;
} jumping_host;

static bool
jump_at_stop(void *context)
{
	jumping_host *jumping = context;

	if (test_should_stop(context))
		longjmp(jumping->target, 1);
	return false;
}

static void
test_jump(uint32_t n_threads, long at, cf_task task, size_t n_tasks, const char *what)
{
	static jumping_host jumping;
	static cf_pool *pool;
	static work w;
	static bool jumped;
	size_t		done;

	test_host_init(&jumping.test);
	jumping.test.host.should_stop = jump_at_stop;
	jumping.test.stop_at = at;
	work_init(&w, n_tasks, n_threads);
	w.milliseconds = 1;
	w.helper_milliseconds = task == do_long ? 200 : 0;
	jumped = false;
	(void) cf_pool_create(&jumping.test.host, n_threads, &pool);
	if (setjmp(jumping.target) == 0)
		(void) cf_pool_run(pool, task, &w, n_tasks);
	else
		jumped = true;
	cf_pool_destroy(pool);
	done = tasks_run(&w);
	OK(jumped && atomic_load(&w.running) == 0 && !atomic_load(&w.bad) && done <= n_tasks,
	   "%u threads: a jump %s, then destroy", n_threads, what);
	OK(jumping.test.blocks == 0 && jumping.test.host.used == 0, "all memory given back");
	nap(5);
	OK(tasks_run(&w) == done, "no task runs after that");
	free(w.runs);
}

static void
look_at_mask(void *context, size_t index, uint32_t thread)
{
	static const int signals[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGALRM, SIGUSR1, SIGUSR2, SIGCHLD, SIGURG, SIGPIPE
	};
	work	   *w = context;
	sigset_t	mask;
	size_t		i;

	do_work(context, index, thread);
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
	{
		if (thread == 1 && !sigismember(&mask, signals[i]))
			w->open_signals = true;
		else if (thread == 0 && sigismember(&mask, signals[i]) != (signals[i] == SIGUSR2))
			atomic_store(&w->bad, true);
	}
}

static void
test_signals(void)
{
	test_host	test;
	cf_pool    *pool;
	work		w;
	sigset_t	one;
	sigset_t	before;
	bool		good;

	test_host_init(&test);
	sigemptyset(&one);
	sigaddset(&one, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &one, &before);
	(void) cf_pool_create(&test.host, 2, &pool);
	work_init(&w, 2, 2);
	w.meet = 2;
	good = cf_pool_run(pool, look_at_mask, &w, 2) == CF_OK;
	OK(good && atomic_load(&w.arrived) == 2 && !w.open_signals, "signals are blocked in a helper");
	OK(!atomic_load(&w.bad), "the caller's are as they were");
	cf_pool_destroy(pool);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(w.runs);
}

/* With the first thread, a sanitizer starts one of its own: not to be counted. */
static void
start_a_thread(void)
{
	test_host	test;
	cf_pool    *pool;

	test_host_init(&test);
	(void) cf_pool_create(&test.host, 2, &pool);
	cf_pool_destroy(pool);
}

int
main(void)
{
	start_a_thread();
	test_sums(1);
	test_sums(2);
	test_sums(MANY);
	test_numbers();
	test_many_runs(1);
	test_many_runs(2);
	test_many_runs(MANY);
	test_small();
	test_memory();
	test_stop(1);
	test_stop(2);
	test_stop(MANY);
	test_waiting();
	test_jump(1, 10, do_work, 1000, "between tasks");
	test_jump(2, 10, do_work, 1000, "between tasks");
	test_jump(MANY, 10, do_work, 1000, "between tasks");
	test_jump(2, 5, do_long, 2, "while it waits");
	test_signals();
	return tap_done();
}
