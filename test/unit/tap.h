/*
 * tap.h
 *	  Test Anything Protocol for prove(1), in a page.
 */
#ifndef TAP_H
#define TAP_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int	tap_count;
static int	tap_failed;

static inline void
tap_ok(bool good, const char *file, int line, const char *format,...)
{
	va_list		args;

	printf("%s %d - ", good ? "ok" : "not ok", ++tap_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	if (!good)
	{
		tap_failed++;
		printf("# failed at %s:%d\n", file, line);
	}
	fflush(stdout);
}

/* Print the plan last; the exit status of main(). */
static inline int
tap_done(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed > 0;
}

#define OK(condition, ...) tap_ok(condition, __FILE__, __LINE__, __VA_ARGS__)

#endif							/* TAP_H */
