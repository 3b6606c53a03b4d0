/*
 * cf_dict.c
 *	  The key dictionary: from a user's or item's key to a dense number.
 *
 * Keys lie in the order of their numbers: integers in an array, byte strings
 * in one arena, each after its length, with an array of offsets into it.
 *
 * Lookup.  Integers start in the dense form, an array over [base, base +
 * n_dense) that holds numbers.  A key that would make this array much larger
 * than the count of keys turns it into a hash table; and when the table must
 * grow, it turns back if the keys have filled their range by then, as those
 * of a sequence do that are met in random order.  Either turn costs one walk
 * over the keys and needs the count to have grown in proportion since the
 * last, so the total is linear.
 *
 * Hash tables are probed linearly.  Those of byte strings keep 32 bits of
 * each key's hash, so that neither a probe that misses nor growing has to
 * read keys.
 *
 * A look-up waits for memory two or three times, one after the other.  Keys
 * that come together are therefore taken step by step, all of them through
 * one step before the next: each step asks for what the next one reads.
 */
#include <string.h>

#include "cf_dict.h"
#include "cf_random.h"

#define FIRST_KEYS		64
#define FIRST_SLOTS		128
#define DENSE_FACTOR	4		/* dense while range <= factor * count + constant */
#define DENSE_CONSTANT	1024
#define KEYS_AT_ONCE	65536	/* between two polls */
#define SHORT_RUN		16		/* sorted by insertion */
#define LENGTH_BYTES	sizeof(uint32_t)
#define CLEAR_AT_ONCE	((size_t) 16 << 20)
#define KEYS_AHEAD		64		/* whose places are fetched before they are looked at */

/* A slot of the hash table of byte strings. */
typedef struct tagged_slot
{
	uint32_t	tag;			/* upper half of the key's hash */
	uint32_t	row;
} tagged_slot;

struct cf_dict
{
	cf_host    *host;
	cf_key_kind kind;
	uint32_t	count;
	uint32_t	capacity;		/* keys there is room for */

	/* the keys: one of the two */
	int64_t    *numbers;
	uint64_t   *offsets;
	char	   *arena;
	size_t		arena_used;
	size_t		arena_size;

	/* the lookup: one of the three */
	uint32_t   *dense;
	uint32_t   *slots;
	tagged_slot *tagged;
	int64_t		base;			/* key of dense[0] */
	uint64_t	n_dense;
	uint64_t	n_slots;		/* a power of two */
	int64_t		least;			/* of the keys, if there are any */
	int64_t		greatest;
};

/* What is sorted in a key's place: most comparisons need no more. */
typedef struct sort_entry
{
	uint64_t	prefix;
	uint32_t	row;
} sort_entry;

/* ---------- keys ---------- */

/* Little-endian on every machine, so that hashes are the same. */
static inline uint64_t
load_8(const unsigned char *from)
{
	return (uint64_t) from[0] | (uint64_t) from[1] << 8 | (uint64_t) from[2] << 16 |
		(uint64_t) from[3] << 24 | (uint64_t) from[4] << 32 | (uint64_t) from[5] << 40 |
		(uint64_t) from[6] << 48 | (uint64_t) from[7] << 56;
}

static inline uint64_t
load_4(const unsigned char *from)
{
	return (uint64_t) from[0] | (uint64_t) from[1] << 8 | (uint64_t) from[2] << 16 |
		(uint64_t) from[3] << 24;
}

/* The n < 8 bytes at "from", n > 0, by loads that overlap and not by a loop. */
static inline uint64_t
load_rest(const unsigned char *from, size_t n)
{
	if (n >= 4)
		return load_4(from) | load_4(from + n - 4) << (8 * (n - 4));
	return (uint64_t) from[0] | (uint64_t) from[n / 2] << (8 * (n / 2)) |
		(uint64_t) from[n - 1] << (8 * (n - 1));
}

static uint64_t
hash_bytes(const void *bytes, uint32_t length, uint64_t seed)
{
	const unsigned char *from = bytes;
	uint64_t	hash = seed ^ (length * UINT64_C(0x9E3779B97F4A7C15));
	size_t		left = length;

	for (; left >= 8; left -= 8, from += 8)
	{
		hash = (hash ^ load_8(from)) * UINT64_C(0xD6E8FEB86659FD93);
		hash ^= hash >> 32;
	}
	if (left > 0)
	{
		hash = (hash ^ load_rest(from, left)) * UINT64_C(0xD6E8FEB86659FD93);
		hash ^= hash >> 32;
	}
	return cf_mix(hash);
}

uint64_t
cf_key_hash(cf_key_kind kind, cf_key key, uint64_t seed)
{
	if (kind == CF_KEY_INTEGER)
		return cf_mix((uint64_t) key.number ^ cf_mix(seed + UINT64_C(0x9E3779B97F4A7C15)));
	return hash_bytes(key.bytes, key.length, cf_mix(seed));
}

int
cf_key_compare(cf_key_kind kind, cf_key a, cf_key b)
{
	uint32_t	shorter = a.length < b.length ? a.length : b.length;
	int			order = 0;

	if (kind == CF_KEY_INTEGER)
		return (a.number > b.number) - (a.number < b.number);
	if (shorter > 0)
		order = memcmp(a.bytes, b.bytes, shorter);
	return order != 0 ? order : (a.length > b.length) - (a.length < b.length);
}

cf_key_kind
cf_dict_kind(const cf_dict *dict)
{
	return dict->kind;
}

uint32_t
cf_dict_count(const cf_dict *dict)
{
	return dict->count;
}

cf_key
cf_dict_key(const cf_dict *dict, uint32_t row)
{
	cf_key		key = {0, NULL, 0};

	if (dict->kind == CF_KEY_INTEGER)
		key.number = dict->numbers[row];
	else
	{
		const char *entry = dict->arena + dict->offsets[row];

		memcpy(&key.length, entry, LENGTH_BYTES);
		key.bytes = entry + LENGTH_BYTES;
	}
	return key;
}

/* ---------- storing keys ---------- */

/* Half as much again: the room that growing to at least "needed" makes. */
static size_t
grown_size(size_t size, size_t needed, size_t first)
{
	size_t		grown = cf_size_add(size, size / 2);

	if (grown < first)
		grown = first;
	return grown < needed ? needed : grown;
}

static cf_status
resize_keys(cf_dict *dict, size_t capacity)
{
	bool		is_integer = dict->kind == CF_KEY_INTEGER;
	void	   *old = is_integer ? (void *) dict->numbers : (void *) dict->offsets;
	void	   *new = cf_realloc(dict->host, old, capacity, sizeof(uint64_t));

	if (new == NULL)
		return dict->host->failure;
	if (is_integer)
		dict->numbers = new;
	else
		dict->offsets = new;
	dict->capacity = (uint32_t) capacity;
	return CF_OK;
}

static cf_status
make_room(cf_dict *dict)
{
	size_t		grown;

	if (dict->count < dict->capacity)
		return CF_OK;
	if (dict->count >= CF_MAX_ROWS)
		return CF_TOO_MANY;
	grown = grown_size(dict->capacity, dict->count + 1, FIRST_KEYS);
	return resize_keys(dict, grown < CF_MAX_ROWS ? grown : CF_MAX_ROWS);
}

static cf_status
store_bytes(cf_dict *dict, cf_key key)
{
	size_t		end = dict->arena_used + LENGTH_BYTES + key.length;
	char	   *entry;

	if (end > dict->arena_size)
	{
		size_t		grown = grown_size(dict->arena_size, end, 16 * FIRST_KEYS);
		char	   *arena = cf_realloc(dict->host, dict->arena, grown, 1);

		if (arena == NULL)
			return dict->host->failure;
		dict->arena = arena;
		dict->arena_size = grown;
	}
	entry = dict->arena + dict->arena_used;
	memcpy(entry, &key.length, LENGTH_BYTES);
	if (key.length > 0)
		memcpy(entry + LENGTH_BYTES, key.bytes, key.length);
	dict->offsets[dict->count] = dict->arena_used;
	dict->arena_used = end;
	return CF_OK;
}

static bool
has_bytes(const cf_dict *dict, uint32_t row, cf_key key)
{
	cf_key		have = cf_dict_key(dict, row);

	return have.length == key.length &&
		(key.length == 0 || memcmp(have.bytes, key.bytes, key.length) == 0);
}

/* ---------- hash tables ---------- */

static uint32_t
integer_slot_hash(int64_t number)
{
	return (uint32_t) (cf_mix((uint64_t) number) >> 32);
}

static uint32_t
bytes_tag(cf_key key)
{
	return (uint32_t) (hash_bytes(key.bytes, key.length, 0) >> 32);
}

/* The slot that holds the number, or the free one where it belongs. */
static uint32_t *
integer_slot(const cf_dict *dict, int64_t number)
{
	uint64_t	at = integer_slot_hash(number) & (dict->n_slots - 1);

	while (dict->slots[at] != CF_NO_ROW &&
		   dict->numbers[dict->slots[at]] != number)
		at = (at + 1) & (dict->n_slots - 1);
	return &dict->slots[at];
}

static tagged_slot *
bytes_slot(const cf_dict *dict, cf_key key, uint32_t tag)
{
	uint64_t	at = tag & (dict->n_slots - 1);

	while (dict->tagged[at].row != CF_NO_ROW &&
		   (dict->tagged[at].tag != tag ||
			!has_bytes(dict, dict->tagged[at].row, key)))
		at = (at + 1) & (dict->n_slots - 1);
	return &dict->tagged[at];
}

/* Load is at most 0.7. */
static bool
slots_are_full(uint64_t count, uint64_t n_slots)
{
	return count * 10 > n_slots * 7;
}

static uint64_t
slots_for(uint64_t count)
{
	uint64_t	n = FIRST_SLOTS;

	while (slots_are_full(count, n))
		n *= 2;
	return n;
}

/* Is it time to ask after "done" keys, and is the answer yes? */
static bool
stop_is_due(cf_host *host, uint64_t done)
{
	return done % KEYS_AT_ONCE == KEYS_AT_ONCE - 1 && cf_should_stop(host);
}

/* An array of n elements, every bit of it set, which is to say empty. */
static void *
alloc_empty(cf_host *host, uint64_t n, size_t size)
{
	char	   *array = cf_alloc(host, n, size);
	size_t		bytes = cf_size_mul(n, size);
	size_t		done;

	for (done = 0; array != NULL && done < bytes; done += CLEAR_AT_ONCE)
	{
		if (done > 0 && cf_should_stop(host))
		{
			cf_free(host, array);
			host->failure = CF_STOPPED;
			return NULL;
		}
		memset(array + done, 0xFF, bytes - done < CLEAR_AT_ONCE ? bytes - done : CLEAR_AT_ONCE);
	}
	return array;
}

static cf_status
rebuild_slots(cf_dict *dict, uint64_t n_slots)
{
	uint32_t   *slots = alloc_empty(dict->host, n_slots, sizeof(uint32_t));
	uint32_t	row;

	if (slots == NULL)
		return dict->host->failure;
	for (row = 0; row < dict->count; row++)
	{
		uint64_t	at = integer_slot_hash(dict->numbers[row]) & (n_slots - 1);

		while (slots[at] != CF_NO_ROW)
			at = (at + 1) & (n_slots - 1);
		slots[at] = row;
		if (stop_is_due(dict->host, row))
		{
			cf_free(dict->host, slots);
			return CF_STOPPED;
		}
	}
	cf_free(dict->host, dict->slots);
	cf_free(dict->host, dict->dense);
	dict->dense = NULL;
	dict->slots = slots;
	dict->n_slots = n_slots;
	return CF_OK;
}

static void
place_tagged(tagged_slot *slots, uint64_t n_slots, tagged_slot slot)
{
	uint64_t	at = slot.tag & (n_slots - 1);

	while (slots[at].row != CF_NO_ROW)
		at = (at + 1) & (n_slots - 1);
	slots[at] = slot;
}

static cf_status
rebuild_tagged(cf_dict *dict, uint64_t n_slots)
{
	tagged_slot *slots = alloc_empty(dict->host, n_slots, sizeof(tagged_slot));
	uint64_t	at;

	if (slots == NULL)
		return dict->host->failure;
	for (at = 0; at < dict->n_slots; at++)
	{
		if (dict->tagged[at].row != CF_NO_ROW)
			place_tagged(slots, n_slots, dict->tagged[at]);
		if (stop_is_due(dict->host, at))
		{
			cf_free(dict->host, slots);
			return CF_STOPPED;
		}
	}
	cf_free(dict->host, dict->tagged);
	dict->tagged = slots;
	dict->n_slots = n_slots;
	return CF_OK;
}

/* ---------- the dense form ---------- */

/* One less than the count of integers in [low, high], which fits. */
static uint64_t
span(int64_t low, int64_t high)
{
	return (uint64_t) high - (uint64_t) low;
}

static uint64_t
dense_limit(uint64_t count)
{
	return count * DENSE_FACTOR + DENSE_CONSTANT;
}

/* Build the dense form over [base, base + n), which spans all keys. */
static cf_status
rebuild_dense(cf_dict *dict, int64_t base, uint64_t n)
{
	uint32_t   *dense = alloc_empty(dict->host, n, sizeof(uint32_t));
	uint32_t	row;

	if (dense == NULL)
		return dict->host->failure;
	for (row = 0; row < dict->count; row++)
	{
		dense[span(base, dict->numbers[row])] = row;
		if (stop_is_due(dict->host, row))
		{
			cf_free(dict->host, dense);
			return CF_STOPPED;
		}
	}
	cf_free(dict->host, dict->slots);
	cf_free(dict->host, dict->dense);
	dict->slots = NULL;
	dict->n_slots = 0;
	dict->dense = dense;
	dict->base = base;
	dict->n_dense = n;
	return CF_OK;
}

static int64_t
shifted(int64_t number, uint64_t up)
{
	return (int64_t) ((uint64_t) number + up);
}

/*
 * Make a dense form of all keys and "number", with room to grow on its side.
 * The room that there was on the other side stays, lest keys that come from
 * both sides in turn rebuild it each time.
 */
static cf_status
widen_dense(cf_dict *dict, int64_t number)
{
	bool		below = dict->count > 0 && number < dict->least;
	int64_t		low = dict->count > 0 && !below ? dict->least : number;
	int64_t		high = dict->count > 0 && number < dict->greatest ? dict->greatest : number;
	uint64_t	slack = span(low, high) / 2 + FIRST_KEYS;
	uint64_t	room = below ? span(INT64_MIN, low) : span(high, INT64_MAX);

	if (slack > room)
		slack = room;
	if (below)
	{
		low = shifted(low, -slack);
		if (dict->dense != NULL)
			high = shifted(dict->base, dict->n_dense - 1);
	}
	else
	{
		high = shifted(high, slack);
		if (dict->dense != NULL)
			low = dict->base;
	}
	return rebuild_dense(dict, low, span(low, high) + 1);
}

/* ---------- lookup ---------- */

static cf_status
prepare_integer(cf_dict *dict, int64_t number)
{
	int64_t		low = dict->count > 0 && dict->least < number ? dict->least : number;
	int64_t		high = dict->count > 0 && dict->greatest > number ? dict->greatest : number;
	bool		is_narrow = span(low, high) < dense_limit((uint64_t) dict->count + 1);

	if (dict->slots == NULL)
		return is_narrow ? widen_dense(dict, number) :
			rebuild_slots(dict, slots_for((uint64_t) dict->count + 1));
	if (!slots_are_full((uint64_t) dict->count + 1, dict->n_slots))
		return CF_OK;
	return is_narrow ? widen_dense(dict, number) :
		rebuild_slots(dict, dict->n_slots * 2);
}

static bool
in_dense(const cf_dict *dict, int64_t number)
{
	return dict->dense != NULL && span(dict->base, number) < dict->n_dense;
}

static cf_status
add_integer(cf_dict *dict, int64_t number, uint32_t *row)
{
	uint32_t   *slot;
	cf_status	status;

	*row = cf_dict_find(dict, (cf_key) {number, NULL, 0});
	if (*row != CF_NO_ROW)
		return CF_OK;
	status = make_room(dict);
	if (status == CF_OK && !in_dense(dict, number))
		status = prepare_integer(dict, number);
	if (status != CF_OK)
		return status;

	slot = dict->dense != NULL ? &dict->dense[span(dict->base, number)] :
		integer_slot(dict, number);
	if (dict->count == 0 || number < dict->least)
		dict->least = number;
	if (dict->count == 0 || number > dict->greatest)
		dict->greatest = number;
	dict->numbers[dict->count] = number;
	*row = *slot = dict->count++;
	return CF_OK;
}

static cf_status
add_bytes(cf_dict *dict, cf_key key, uint32_t *row)
{
	uint32_t	tag = bytes_tag(key);
	tagged_slot *slot = bytes_slot(dict, key, tag);
	cf_status	status;

	*row = slot->row;
	if (*row != CF_NO_ROW)
		return CF_OK;
	status = make_room(dict);
	if (status == CF_OK && slots_are_full((uint64_t) dict->count + 1, dict->n_slots))
	{
		status = rebuild_tagged(dict, dict->n_slots * 2);
		if (status == CF_OK)
			slot = bytes_slot(dict, key, tag);
	}
	if (status == CF_OK)
		status = store_bytes(dict, key);
	if (status != CF_OK)
		return status;
	slot->tag = tag;
	*row = slot->row = dict->count++;
	return CF_OK;
}

cf_status
cf_dict_add(cf_dict *dict, cf_key key, uint32_t *row)
{
	if (dict->kind == CF_KEY_INTEGER)
		return add_integer(dict, key.number, row);
	return add_bytes(dict, key, row);
}

/* ---------- many keys at once ---------- */

static void
find_in_dense(const cf_dict *dict, const cf_key *keys, size_t n, uint32_t *rows)
{
	size_t		j;

	for (j = 0; j < n; j++)
		rows[j] = in_dense(dict, keys[j].number) ?
			dict->dense[span(dict->base, keys[j].number)] : CF_NO_ROW;
}

/* Ask for the slots, then for the keys that they point to, then look. */
static void
find_in_slots(const cf_dict *dict, const cf_key *keys, size_t n, uint32_t *rows)
{
	const uint64_t mask = dict->n_slots - 1;
	uint64_t	at[KEYS_AHEAD];
	size_t		j;

	for (j = 0; j < n; j++)
	{
		at[j] = integer_slot_hash(keys[j].number) & mask;
		__builtin_prefetch(&dict->slots[at[j]]);
	}
	for (j = 0; j < n; j++)
	{
		rows[j] = dict->slots[at[j]];
		if (rows[j] != CF_NO_ROW)
			__builtin_prefetch(&dict->numbers[rows[j]]);
	}
	for (j = 0; j < n; j++)
	{
		while (rows[j] != CF_NO_ROW && dict->numbers[rows[j]] != keys[j].number)
		{
			at[j] = (at[j] + 1) & mask;
			rows[j] = dict->slots[at[j]];
		}
	}
}

/* Ask for the slots, then for the offsets, then for the bytes, then look. */
static void
find_strings(const cf_dict *dict, const cf_key *keys, size_t n, uint32_t *rows)
{
	uint32_t	tags[KEYS_AHEAD];
	size_t		j;

	for (j = 0; j < n; j++)
	{
		tags[j] = bytes_tag(keys[j]);
		__builtin_prefetch(&dict->tagged[tags[j] & (dict->n_slots - 1)]);
	}
	for (j = 0; j < n; j++)
	{
		rows[j] = dict->tagged[tags[j] & (dict->n_slots - 1)].row;
		if (rows[j] != CF_NO_ROW)
			__builtin_prefetch(&dict->offsets[rows[j]]);
	}
	for (j = 0; j < n; j++)
	{
		if (rows[j] != CF_NO_ROW)
			__builtin_prefetch(dict->arena + dict->offsets[rows[j]]);
	}
	for (j = 0; j < n; j++)
		rows[j] = bytes_slot(dict, keys[j], tags[j])->row;
}

static cf_status
add_group(cf_dict *dict, const cf_key *keys, size_t n, uint32_t *rows)
{
	cf_status	status = CF_OK;
	size_t		j;

	if (dict->kind == CF_KEY_BYTES)
		find_strings(dict, keys, n, rows);
	else if (dict->slots != NULL)
		find_in_slots(dict, keys, n, rows);
	else
		find_in_dense(dict, keys, n, rows);
	for (j = 0; j < n && status == CF_OK; j++)
	{
		if (rows[j] == CF_NO_ROW)
			status = cf_dict_add(dict, keys[j], &rows[j]);
	}
	return status;
}

cf_status
cf_dict_add_many(cf_dict *dict, const cf_key *keys, size_t n, uint32_t *rows)
{
	cf_status	status = CF_OK;
	size_t		done;

	for (done = 0; done < n && status == CF_OK; done += KEYS_AHEAD)
	{
		size_t		ahead = n - done < KEYS_AHEAD ? n - done : KEYS_AHEAD;

		status = add_group(dict, keys + done, ahead, rows + done);
	}
	return status;
}

uint32_t
cf_dict_find(const cf_dict *dict, cf_key key)
{
	if (dict->kind == CF_KEY_BYTES)
		return bytes_slot(dict, key, bytes_tag(key))->row;
	if (dict->dense != NULL)
		return in_dense(dict, key.number) ?
			dict->dense[span(dict->base, key.number)] : CF_NO_ROW;
	return dict->slots == NULL ? CF_NO_ROW : *integer_slot(dict, key.number);
}

cf_status
cf_dict_create(cf_host *host, cf_key_kind kind, cf_dict **dict)
{
	cf_dict    *new = cf_alloc(host, 1, sizeof(cf_dict));

	if (new == NULL)
		return host->failure;
	memset(new, 0, sizeof(*new));
	new->host = host;
	new->kind = kind;

	/* An integer's lookup is made by the first key, which says where. */
	if (kind == CF_KEY_BYTES && rebuild_tagged(new, FIRST_SLOTS) != CF_OK)
	{
		cf_dict_destroy(new);
		return host->failure;
	}
	*dict = new;
	return CF_OK;
}

void
cf_dict_destroy(cf_dict *dict)
{
	cf_host    *host;

	if (dict == NULL)
		return;
	host = dict->host;
	cf_free(host, dict->numbers);
	cf_free(host, dict->offsets);
	cf_free(host, dict->arena);
	cf_free(host, dict->dense);
	cf_free(host, dict->slots);
	cf_free(host, dict->tagged);
	cf_free(host, dict);
}

/* ---------- sorting ---------- */

/* How many bytes all keys begin with alike; less when the host says stop. */
static uint32_t
common_prefix(const cf_dict *dict)
{
	cf_key		first = cf_dict_key(dict, 0);
	uint32_t	common = first.length;
	uint32_t	row;

	for (row = 1; row < dict->count && common > 0; row++)
	{
		cf_key		key = cf_dict_key(dict, row);
		uint32_t	j = 0;

		while (j < common && j < key.length &&
			   ((const char *) key.bytes)[j] == ((const char *) first.bytes)[j])
			j++;
		common = j;
		if (stop_is_due(dict->host, row))
			return 0;
	}
	return common;
}

/* The eight bytes at "from" as a number that orders like them. */
static uint64_t
bytes_prefix(cf_key key, uint32_t from)
{
	const unsigned char *bytes = key.bytes;
	uint64_t	prefix = 0;
	uint32_t	j;

	for (j = from; j < from + 8; j++)
		prefix = prefix << 8 | (j < key.length ? bytes[j] : 0);
	return prefix;
}

static cf_status
fill_entries(const cf_dict *dict, sort_entry *entries)
{
	bool		is_integer = dict->kind == CF_KEY_INTEGER;
	uint32_t	common = is_integer || dict->count == 0 ? 0 : common_prefix(dict);
	uint32_t	row;

	for (row = 0; row < dict->count; row++)
	{
		/* turning the sign bit makes unsigned order of signed */
		entries[row].prefix = is_integer ?
			(uint64_t) dict->numbers[row] ^ UINT64_C(1) << 63 :
			bytes_prefix(cf_dict_key(dict, row), common);
		entries[row].row = row;
		if (stop_is_due(dict->host, row))
			return CF_STOPPED;
	}
	return CF_OK;
}

static inline bool
is_before(const cf_dict *dict, sort_entry a, sort_entry b)
{
	if (a.prefix != b.prefix)
		return a.prefix < b.prefix;
	return dict->kind == CF_KEY_BYTES &&
		cf_key_compare(CF_KEY_BYTES, cf_dict_key(dict, a.row), cf_dict_key(dict, b.row)) < 0;
}

static void
sort_short_run(const cf_dict *dict, sort_entry *run, size_t n)
{
	size_t		j;

	for (j = 1; j < n; j++)
	{
		sort_entry	entry = run[j];
		size_t		at = j;

		for (; at > 0 && is_before(dict, entry, run[at - 1]); at--)
			run[at] = run[at - 1];
		run[at] = entry;
	}
}

/* Merge from[0, middle) and from[middle, end) into "to". */
static cf_status
merge_runs(const cf_dict *dict, const sort_entry *from, size_t middle,
		   size_t end, sort_entry *to)
{
	size_t		left = 0;
	size_t		right = middle;
	size_t		at;

	for (at = 0; at < end; at++)
	{
		if (left < middle &&
			(right >= end || !is_before(dict, from[right], from[left])))
			to[at] = from[left++];
		else
			to[at] = from[right++];
		if (stop_is_due(dict->host, at))
			return CF_STOPPED;
	}
	return CF_OK;
}

/* Bottom-up merge sort; the result is in *entries, *spare is the other. */
static cf_status
sort_entries(const cf_dict *dict, sort_entry **entries, sort_entry **spare)
{
	size_t		n = dict->count;
	size_t		width;
	size_t		at;

	for (at = 0; at < n; at += SHORT_RUN)
	{
		sort_short_run(dict, *entries + at, n - at < SHORT_RUN ? n - at : SHORT_RUN);
		if (at % KEYS_AT_ONCE == 0 && cf_should_stop(dict->host))
			return CF_STOPPED;
	}
	for (width = SHORT_RUN; width < n; width *= 2)
	{
		sort_entry *swap = *entries;

		for (at = 0; at < n; at += 2 * width)
		{
			size_t		end = n - at < 2 * width ? n - at : 2 * width;

			/* long merges poll within, short ones in between */
			if (merge_runs(dict, *entries + at, end < width ? end : width, end,
						   *spare + at) != CF_OK ||
				(at % KEYS_AT_ONCE == 0 && cf_should_stop(dict->host)))
				return CF_STOPPED;
		}
		*entries = *spare;
		*spare = swap;
	}
	return CF_OK;
}

/* The lookup is made anew after sorting: give its memory back before. */
static void
drop_lookup(cf_dict *dict)
{
	cf_free(dict->host, dict->dense);
	cf_free(dict->host, dict->slots);
	cf_free(dict->host, dict->tagged);
	dict->dense = NULL;
	dict->slots = NULL;
	dict->tagged = NULL;
	dict->n_dense = 0;
	dict->n_slots = 0;
}

static cf_status
retag(cf_dict *dict)
{
	uint64_t	n_slots = slots_for(dict->count);
	tagged_slot *slots = alloc_empty(dict->host, n_slots, sizeof(tagged_slot));
	uint32_t	row;

	if (slots == NULL)
		return dict->host->failure;
	dict->tagged = slots;
	dict->n_slots = n_slots;
	for (row = 0; row < dict->count; row++)
	{
		tagged_slot slot;

		slot.tag = bytes_tag(cf_dict_key(dict, row));
		slot.row = row;
		place_tagged(slots, n_slots, slot);
		if (stop_is_due(dict->host, row))
			return CF_STOPPED;
	}
	return CF_OK;
}

static cf_status
rebuild_lookup(cf_dict *dict)
{
	if (dict->kind == CF_KEY_BYTES)
		return retag(dict);
	if (dict->count == 0)
		return CF_OK;
	if (span(dict->least, dict->greatest) < dense_limit(dict->count))
		return rebuild_dense(dict, dict->least, span(dict->least, dict->greatest) + 1);
	return rebuild_slots(dict, slots_for(dict->count));
}

/* Put the keys in the order of the entries; only offsets of bytes move. */
static cf_status
reorder_keys(cf_dict *dict, const sort_entry *entries, uint64_t *spare, uint32_t *rank)
{
	uint32_t	row;

	for (row = 0; row < dict->count; row++)
	{
		rank[entries[row].row] = row;
		if (dict->kind == CF_KEY_INTEGER)
			dict->numbers[row] = (int64_t) (entries[row].prefix ^ UINT64_C(1) << 63);
		else
			spare[row] = dict->offsets[entries[row].row];
		if (stop_is_due(dict->host, row))
			return CF_STOPPED;
	}
	if (dict->kind == CF_KEY_BYTES && dict->count > 0)
		memcpy(dict->offsets, spare, dict->count * sizeof(uint64_t));
	return CF_OK;
}

static cf_status
sort_keys(cf_dict *dict, uint32_t *rank)
{
	cf_host    *host = dict->host;
	sort_entry *entries = cf_alloc(host, dict->count, sizeof(sort_entry));
	sort_entry *spare = entries == NULL ? NULL :
		cf_alloc(host, dict->count, sizeof(sort_entry));
	cf_status	status = spare == NULL ? host->failure : CF_OK;

	if (status == CF_OK)
		status = fill_entries(dict, entries);
	if (status == CF_OK)
		status = sort_entries(dict, &entries, &spare);
	if (status == CF_OK)
		status = reorder_keys(dict, entries, (uint64_t *) spare, rank);
	cf_free(host, entries);
	cf_free(host, spare);
	return status;
}

static cf_status
shrink(cf_dict *dict)
{
	cf_status	status = CF_OK;

	if (dict->capacity > dict->count)
		status = resize_keys(dict, dict->count);
	if (status == CF_OK && dict->arena_size > dict->arena_used)
	{
		char	   *arena = cf_realloc(dict->host, dict->arena, dict->arena_used, 1);

		if (arena == NULL)
			return dict->host->failure;
		dict->arena = arena;
		dict->arena_size = dict->arena_used;
	}
	return status;
}

cf_status
cf_dict_sort(cf_dict *dict, uint32_t **rank)
{
	uint32_t   *new_rank;
	cf_status	status;

	drop_lookup(dict);
	new_rank = cf_alloc(dict->host, dict->count, sizeof(uint32_t));
	if (new_rank == NULL)
		return dict->host->failure;
	status = sort_keys(dict, new_rank);
	if (status == CF_OK)
		status = shrink(dict);
	if (status == CF_OK)
		status = rebuild_lookup(dict);
	if (status != CF_OK)
	{
		cf_free(dict->host, new_rank);
		return status;
	}
	*rank = new_rank;
	return CF_OK;
}
