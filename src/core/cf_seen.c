/*
 * cf_seen.c
 *	  Who rated what: for each user row, the rows of the items.
 *
 * The builder holds pairs of 8 bytes.  Freezing is a counting sort by user
 * into one array of 4 bytes a pair, after which the pairs are given back and
 * each list is sorted where it stands.  The lists are sorted by a heap sort:
 * in place and without a bad case, however often one pair comes.
 */
#include "cf_seen.h"

#define FIRST_PAIRS		1024
#define STEPS_AT_ONCE	65536	/* between two polls */

typedef struct seen_pair
{
	uint32_t	user;
	uint32_t	item;
} seen_pair;

struct cf_seen
{
	cf_host    *host;
	uint32_t	n_users;
	seen_pair  *pairs;			/* NULL once frozen */
	size_t		n_pairs;
	size_t		capacity;		/* pairs there is room for */
	size_t	   *starts;			/* [n_users + 1] where lists begin in "items" */
	uint32_t   *items;
};

cf_status
cf_seen_create(cf_host *host, uint32_t n_users, cf_seen **seen)
{
	cf_seen    *new = cf_alloc(host, 1, sizeof(cf_seen));

	if (new == NULL)
		return host->failure;
	new->host = host;
	new->n_users = n_users;
	new->pairs = NULL;
	new->n_pairs = 0;
	new->capacity = 0;
	new->items = NULL;
	new->starts = cf_alloc_zero(host, cf_size_add(n_users, 1), sizeof(size_t));
	if (new->starts == NULL)
	{
		cf_free(host, new);
		return host->failure;
	}
	*seen = new;
	return CF_OK;
}

void
cf_seen_destroy(cf_seen *seen)
{
	cf_host    *host;

	if (seen == NULL)
		return;
	host = seen->host;
	cf_free(host, seen->pairs);
	cf_free(host, seen->starts);
	cf_free(host, seen->items);
	cf_free(host, seen);
}

static cf_status
grow_pairs(cf_seen *seen)
{
	size_t		capacity = seen->capacity + seen->capacity / 2 + FIRST_PAIRS;
	seen_pair  *pairs = cf_realloc(seen->host, seen->pairs, capacity, sizeof(seen_pair));

	if (pairs == NULL)
		return seen->host->failure;
	seen->pairs = pairs;
	seen->capacity = capacity;
	return CF_OK;
}

cf_status
cf_seen_add(cf_seen *seen, uint32_t user, uint32_t item)
{
	if (seen->n_pairs == seen->capacity)
	{
		cf_status	status = grow_pairs(seen);

		if (status != CF_OK)
			return status;
	}
	seen->pairs[seen->n_pairs].user = user;
	seen->pairs[seen->n_pairs].item = item;
	seen->n_pairs++;
	return CF_OK;
}

/* Is it time to ask after this step, and is the answer yes? */
static bool
stop_is_due(cf_host *host, size_t step)
{
	return step % STEPS_AT_ONCE == STEPS_AT_ONCE - 1 && cf_should_stop(host);
}

/* Where each user's list ends, in starts[user + 1]. */
static cf_status
count_pairs(cf_seen *seen)
{
	size_t		j;

	for (j = 0; j < seen->n_pairs; j++)
	{
		seen->starts[(size_t) seen->pairs[j].user + 1]++;
		if (stop_is_due(seen->host, j))
			return CF_STOPPED;
	}
	for (j = 0; j < seen->n_users; j++)
	{
		seen->starts[j + 1] += seen->starts[j];
		if (stop_is_due(seen->host, j))
			return CF_STOPPED;
	}
	return CF_OK;
}

/*
 * Put the items in their lists.  starts[user] serves as the place of the
 * user's next item, so in the end it is where the following list begins;
 * moving all of them on by one makes them starts again.
 */
static cf_status
place_items(cf_seen *seen)
{
	size_t		j;

	for (j = 0; j < seen->n_pairs; j++)
	{
		seen->items[seen->starts[seen->pairs[j].user]++] = seen->pairs[j].item;
		if (stop_is_due(seen->host, j))
			return CF_STOPPED;
	}
	for (j = seen->n_users; j > 0; j--)
		seen->starts[j] = seen->starts[j - 1];
	seen->starts[0] = 0;
	return CF_OK;
}

/* Put "item" at place "at" of list[0, n), below which there are heaps. */
static void
sink(uint32_t *list, size_t n, size_t at, uint32_t item)
{
	size_t		child;

	while ((child = 2 * at + 1) < n)
	{
		if (child + 1 < n && list[child + 1] > list[child])
			child++;
		if (list[child] <= item)
			break;
		list[at] = list[child];
		at = child;
	}
	list[at] = item;
}

/* Pairs often come in order already. */
static bool
is_rising(const uint32_t *list, size_t n)
{
	size_t		j;

	for (j = 1; j < n; j++)
		if (list[j - 1] >= list[j])
			return false;
	return true;
}

/* "steps" counts over all lists, so that many short ones are polled for, too. */
static cf_status
sort_list(cf_host *host, uint32_t *list, size_t n, size_t *steps)
{
	size_t		j;

	for (j = n / 2; j > 0; j--)
	{
		sink(list, n, j - 1, list[j - 1]);
		if (stop_is_due(host, (*steps)++))
			return CF_STOPPED;
	}
	for (j = n; j > 1; j--)
	{
		uint32_t	last = list[j - 1];

		list[j - 1] = list[0];
		sink(list, j - 1, 0, last);
		if (stop_is_due(host, (*steps)++))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* Copy a sorted list to where the lists before it end; returns its new end. */
static size_t
append_unique(uint32_t *items, size_t end, const uint32_t *list, size_t n)
{
	size_t		j;

	for (j = 0; j < n; j++)
		if (j == 0 || list[j] != list[j - 1])
			items[end++] = list[j];
	return end;
}

/* Sort each list and close the gaps that repeated pairs leave. */
static cf_status
settle_lists(cf_seen *seen)
{
	size_t		end = 0;
	size_t		steps = 0;
	uint32_t	user;

	for (user = 0; user < seen->n_users; user++)
	{
		uint32_t   *list = seen->items + seen->starts[user];
		size_t		n = seen->starts[(size_t) user + 1] - seen->starts[user];
		cf_status	status = CF_OK;

		if (!is_rising(list, n))
			status = sort_list(seen->host, list, n, &steps);
		else if (stop_is_due(seen->host, steps++))
			status = CF_STOPPED;
		if (status != CF_OK)
			return status;
		seen->starts[user] = end;
		end = append_unique(seen->items, end, list, n);
	}
	seen->starts[seen->n_users] = end;
	return CF_OK;
}

/* Give back the room that repeated pairs left over. */
static cf_status
trim_items(cf_seen *seen)
{
	size_t		n = seen->starts[seen->n_users];
	uint32_t   *items;

	if (n == seen->n_pairs)
		return CF_OK;
	items = cf_realloc(seen->host, seen->items, n, sizeof(uint32_t));
	if (items == NULL)
		return seen->host->failure;
	seen->items = items;
	return CF_OK;
}

cf_status
cf_seen_freeze(cf_seen *seen)
{
	cf_status	status;

	seen->items = cf_alloc(seen->host, seen->n_pairs, sizeof(uint32_t));
	if (seen->items == NULL)
		return seen->host->failure;
	status = count_pairs(seen);
	if (status == CF_OK)
		status = place_items(seen);
	cf_free(seen->host, seen->pairs);
	seen->pairs = NULL;
	seen->capacity = 0;
	if (status == CF_OK)
		status = settle_lists(seen);
	if (status == CF_OK)
		status = trim_items(seen);
	return status;
}

const uint32_t *
cf_seen_items(const cf_seen *seen, uint32_t user, size_t *n)
{
	*n = seen->starts[(size_t) user + 1] - seen->starts[user];
	return seen->items + seen->starts[user];
}
