/*
 * blas.c
 *	  OpenBLAS, loaded when it is first needed.
 *
 * Were the library linked, its pthread build would start a helper thread in
 * every backend the moment the extension is loaded, with the server's signals
 * open on that thread.  Loaded late, with one thread asked for and all
 * signals blocked, it starts none.
 */
#include "postgres.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>

#include "server/blas.h"

#define OPENBLAS_THREADS	"OPENBLAS_NUM_THREADS"

static const char *const library_names[] = {
#ifdef __APPLE__
	"libopenblas.0.dylib", "libopenblas.dylib"
#else
	"libopenblas.so.0", "libopenblas.so"
#endif
};

static void *
OpenLibrary(void)
{
	void	   *library = NULL;
	sigset_t	all;
	sigset_t	before;
	const char *given = getenv(OPENBLAS_THREADS);

	given = given ? pstrdup(given) : NULL;
	setenv(OPENBLAS_THREADS, "1", 1);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (int i = 0; i < (int) lengthof(library_names) && library == NULL; i++)
		library = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (given)
		setenv(OPENBLAS_THREADS, given, 1);
	else
		unsetenv(OPENBLAS_THREADS);
	return library;
}

static void *
Routine(void *library, const char *name)
{
	void	   *routine = dlsym(library, name);

	if (routine == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("the OpenBLAS library has no routine \"%s\"", name),
				 errhint("Install an OpenBLAS that includes LAPACK.")));
	return routine;
}

const cf_blas *
Blas(void)
{
	static cf_blas table;
	static bool loaded = false;
	void	   *library;

	if (loaded)
		return &table;
	library = OpenLibrary();
	if (library == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("could not load the OpenBLAS library: %s", dlerror()),
				 errhint("Install OpenBLAS; on Debian the package is libopenblas0.")));
	/* POSIX gives functions as void pointers, ISO C knows no such cast */
	*(void **) &table.sgemm = Routine(library, "sgemm_");
	*(void **) &table.dsyrk = Routine(library, "dsyrk_");
	*(void **) &table.dsyevr = Routine(library, "dsyevr_");
	loaded = true;
	return &table;
}
