/*
 * cache.c
 *	  Models as readers see them: embeddings in memory, one copy a backend.
 *
 * Entries are found by (head oid, stamp).  Every writer draws a fresh random
 * stamp and commits it together with the embeddings, so an entry can never be
 * taken for another generation: not after a rollback, a restore or a
 * dropped and made again model.  Relcache invalidations are only a hint to
 * look again, for they come for DDL and not for DML.
 *
 * Entries are pinned by readers.  Those that nobody uses are kept, most
 * recently used first and one a model, within collab.cache_size.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "server/cache.h"
#include "server/compat.h"
#include "server/describe.h"
#include "server/embeddings.h"
#include "server/head.h"
#include "server/host.h"
#include "server/relation_scan.h"

/* Reading a row by its key takes as long as reading so many in a scan. */
#define ROWS_PER_LOOKUP		8

/* Users that were asked for one by one. */
typedef struct AskedUsers
{
	EmbeddingTable table;		/* how it is read; the relation is closed */
	cf_host    *host;			/* NULL before the first */
	int64		n_read;			/* users looked up, since the entry was made */
	int64		n_all;			/* users of the model */
} AskedUsers;

typedef struct CacheEntry
{
	CachedModel model;			/* first, so that one is the other */
	AskedUsers	asked;
	int			n_factors[2];	/* of users and items */
	dlist_node	node;			/* in "entries", if shared */
	MemoryContext context;
	Oid			head;
	int64		stamp;
	bool		shared;			/* found by others */
	bool		superseded;		/* a later look at the model found another stamp */
	int			pins;
} CacheEntry;

/* What a look depended on. */
typedef struct LookKey
{
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
	CommandId	curcid;
	uint64		invalidations;
	Oid			role;
	Oid			head;
	int			need;
	bool		row_security;
} LookKey;

/* A call site's state, kept in fn_extra. */
typedef struct Reader
{
	CacheEntry *entry;			/* pinned; NULL before the first look */
	LookKey		key;
	void	   *state;			/* the call site's own; NULL when there is none yet */
	Size		state_size;
	MemoryContextCallback release;
} Reader;

static dlist_head entries = DLIST_STATIC_INIT(entries); /* most recent first */
static uint64 invalidations = 0;

static void
CountInvalidation(Datum arg, Oid relid)
{
	invalidations++;
}

/* Out of the list; the memory stays for those who read it. */
static void
UnshareEntry(CacheEntry *entry)
{
	dlist_delete(&entry->node);
	entry->shared = false;
}

static void
DeleteEntry(CacheEntry *entry)
{
	if (entry->shared)
		UnshareEntry(entry);
	if (entry->model.seen_plan != NULL)
		(void) SPI_freeplan(entry->model.seen_plan);
	MemoryContextDelete(entry->context);
}

/*
 * What a subtransaction wrote can vanish without a trace in the snapshot:
 * command ids are not taken back, and under REPEATABLE READ the rest of it
 * stays as it is.  So readers look again.
 */
static void
CountRollback(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		invalidations++;
}

void
CacheInit(void)
{
	CacheRegisterRelcacheCallback(CountInvalidation, (Datum) 0);
	RegisterSubXactCallback(CountRollback, NULL);
}

static Size
EntryMemory(const CacheEntry *entry)
{
	return entry->model.host->used + (entry->asked.host != NULL ? entry->asked.host->used : 0);
}

/* Give up least recently used entries that nobody reads, beyond the limit. */
static void
EvictEntries(void)
{
	Size		limit = (Size) collab_cache_size * 1024;
	Size		kept = 0;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &entries)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, iter.cur);

		kept += EntryMemory(entry);
		if (kept > limit && entry->pins == 0)
		{
			kept -= EntryMemory(entry);
			DeleteEntry(entry);
		}
	}
}

static void
Unpin(CacheEntry *entry)
{
	if (--entry->pins > 0)
		return;
	if (!entry->shared || entry->superseded)
		DeleteEntry(entry);
	else
		EvictEntries();
}

static void
ReleaseReader(void *arg)
{
	Reader	   *reader = arg;

	if (reader->entry != NULL)
		Unpin(reader->entry);
	reader->entry = NULL;
}

static Reader *
GetReader(FmgrInfo *flinfo)
{
	Reader	   *reader = flinfo->fn_extra;

	if (reader == NULL)
	{
		reader = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Reader));
		reader->release.func = ReleaseReader;
		reader->release.arg = reader;
		MemoryContextRegisterResetCallback(flinfo->fn_mcxt, &reader->release);
		flinfo->fn_extra = reader;
	}
	return reader;
}

/* Would a look now find what the last one found?  Called for every row. */
static inline bool
SameLook(const LookKey *key, Oid head, int need)
{
	Snapshot	snapshot = GetActiveSnapshot();

	return key->head == head && (key->need & need) == need &&
		key->xmin == snapshot->xmin && key->xmax == snapshot->xmax &&
		key->xcnt == snapshot->xcnt && key->subxcnt == snapshot->subxcnt &&
		key->curcid == snapshot->curcid &&
		key->invalidations == invalidations &&
		key->role == GetUserId() && key->row_security == row_security;
}

static void
RememberLook(LookKey *key, Oid head, int need)
{
	Snapshot	snapshot = GetActiveSnapshot();

	key->xmin = snapshot->xmin;
	key->xmax = snapshot->xmax;
	key->xcnt = snapshot->xcnt;
	key->subxcnt = snapshot->subxcnt;
	key->curcid = snapshot->curcid;
	key->invalidations = invalidations;
	key->role = GetUserId();
	key->row_security = row_security;
	key->head = head;
	key->need = need;
}

static CacheEntry *
FindEntry(Oid head, int64 stamp)
{
	dlist_iter	iter;

	dlist_foreach(iter, &entries)
	{
		CacheEntry *entry = dlist_container(CacheEntry, node, iter.cur);

		if (entry->head == head && entry->stamp == stamp)
			return entry;
	}
	return NULL;
}

/* An entry without sides, from the head row; not yet in the list. */
static CacheEntry *
MakeEntry(Relation head, const HeadRow *row)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "collab model",
												  ALLOCSET_DEFAULT_SIZES);
	CacheEntry *entry = MemoryContextAllocZero(context, sizeof(CacheEntry));

	entry->context = context;
	entry->head = RelationGetRelid(head);
	entry->stamp = HeadInt64(row, HEAD_STAMP, 0);
	entry->model.name = MemoryContextStrdup(context, RelationGetRelationName(head));
	entry->model.host = HostCreate(context, SIZE_MAX);
	entry->model.users.table = HeadOid(row, HEAD_USERS);
	entry->model.items.table = HeadOid(row, HEAD_ITEMS);
	entry->n_factors[USERS] = HeadFactors(row, USERS, entry->model.name);
	entry->n_factors[ITEMS] = HeadFactors(row, ITEMS, entry->model.name);
	entry->model.n_draws = HeadInt32(row, HEAD_N_DRAWS, 0);
	entry->asked.n_all = HeadInt64(row, HEAD_N_USERS, 0);
	entry->model.users.prior = PriorFromHead(row, USERS, context);
	entry->model.items.prior = PriorFromHead(row, ITEMS, context);
	ModelFromHead(row, entry->model.name, entry->model.host, &entry->model.model);
	entry->model.source = SourceRemembered(row, context);
	return entry;
}

static bool
SideMatches(const CachedSide *cached, const EmbeddingTable *table)
{
	return cached->dict == NULL || table->relation == NULL ||
		cached->key_type.type == table->key_type.type;
}

/*
 * Is the entry what head row and tables now are?  A stamp alone would do,
 * were they not for their owners to alter.
 */
static bool
EntryMatches(const CacheEntry *entry, const HeadRow *row, const EmbeddingTable tables[2])
{
	return entry->model.users.table == HeadOid(row, HEAD_USERS) &&
		entry->model.items.table == HeadOid(row, HEAD_ITEMS) &&
		SideMatches(&entry->model.users, &tables[USERS]) &&
		SideMatches(&entry->model.items, &tables[ITEMS]);
}

/* What is known of the users but for mean bias and prior goes. */
static void
ForgetAskedUsers(CacheEntry *entry)
{
	double		mean_bias = entry->model.model.users.mean_bias;
	cf_side_prior prior = entry->model.model.users.prior;

	if (entry->asked.host == NULL)
		return;
	MemoryContextDelete((MemoryContext) entry->asked.host->context);
	entry->asked.host = NULL;
	entry->model.users.dict = NULL;
	memset(&entry->model.model.users, 0, sizeof(cf_side));
	entry->model.model.users.mean_bias = mean_bias;
	entry->model.model.users.prior = prior;
}

/* A place for users that are asked for one by one. */
static void
PrepareAskedUsers(CacheEntry *entry)
{
	AskedUsers *asked = &entry->asked;
	cf_side    *users = &entry->model.model.users;
	double		mean_bias = users->mean_bias;
	cf_side_prior prior = users->prior;
	MemoryContext context = AllocSetContextCreate(entry->context, "collab users",
												  ALLOCSET_DEFAULT_SIZES);

	asked->host = HostCreate(context, SIZE_MAX);
	HostCheck(asked->host, cf_dict_create(asked->host, asked->table.key_type.kind,
										  &entry->model.users.dict));
	cf_side_begin(users, entry->n_factors[USERS]);
	users->mean_bias = mean_bias;
	users->prior = prior;
}

/*
 * Read a side into the entry.  The arrays are built aside and move in when
 * they are complete, so that an error leaves the entry as it was; what it
 * took of the entry's memory goes with the context.
 */
static void
LoadSide(CacheEntry *entry, const EmbeddingTable *table)
{
	CachedSide *cached = CachedSideOf(&entry->model, table->side);
	cf_side    *side = CachedRowsOf(&entry->model, table->side);
	cf_side		loaded = {0};
	cf_dict    *dict;

	EmbeddingsRead(table, entry->n_factors[table->side], entry->model.host, &loaded, &dict);
	loaded.mean_bias = side->mean_bias;
	loaded.prior = side->prior;
	if (table->side == USERS)
		ForgetAskedUsers(entry);
	*side = loaded;
	cached->dict = dict;
	cached->key_type = table->key_type;
	cached->loaded = true;
}

/* Users will be asked for one by one. */
static void
ExpectUsers(CacheEntry *entry, const EmbeddingTable *table)
{
	entry->asked.table = *table;
	entry->asked.table.relation = NULL;
	entry->model.users.key_type = table->key_type;
}

/*
 * Check and, where it is not loaded yet, read the sides asked for.  Returns
 * whether row-level security hides rows of any of them.
 */
static bool
OpenSides(const HeadRow *row, const char *name, int need, EmbeddingTable tables[2])
{
	bool		filtered = false;

	for (Side side = USERS; side <= ITEMS; side++)
	{
		if (!(need & (side == USERS ? NEED_USERS | NEED_USER : NEED_ITEMS)))
		{
			tables[side].relation = NULL;
			continue;
		}
		ModelOpenSide(&tables[side], side, row, name);
		filtered |= ScanIsFiltered(tables[side].relation);
	}
	return filtered;
}

static void
LoadSides(CacheEntry *entry, int need, EmbeddingTable tables[2])
{
	for (Side side = USERS; side <= ITEMS; side++)
	{
		CachedSide *cached = CachedSideOf(&entry->model, side);

		if (tables[side].relation == NULL)
			continue;
		if (side == USERS && !(need & NEED_USERS))
			ExpectUsers(entry, &tables[side]);
		else if (!cached->loaded)
			LoadSide(entry, &tables[side]);
		table_close(tables[side].relation, NoLock);
	}
}

/*
 * Other generations of the model will hardly be asked for again: they go as
 * soon as nobody reads them.
 */
static void
SupersedeOthers(const CacheEntry *entry)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &entries)
	{
		CacheEntry *other = dlist_container(CacheEntry, node, iter.cur);

		if (other == entry || other->head != entry->head)
			continue;
		other->superseded = true;
		if (other->pins == 0)
			DeleteEntry(other);
	}
}

/* Put a complete entry at the front of the list. */
static void
ShareEntry(CacheEntry *entry)
{
	if (!entry->shared)
		MemoryContextSetParent(entry->context, CacheMemoryContext);
	else
		dlist_delete(&entry->node);
	entry->shared = true;
	entry->superseded = false;
	dlist_push_head(&entries, &entry->node);
	SupersedeOthers(entry);
}

/* Half-read arrays must not stay behind in the list. */
static void
DisownEntry(CacheEntry *entry)
{
	if (entry->shared)
		UnshareEntry(entry);
	if (entry->pins == 0)
		DeleteEntry(entry);
}

/* Load sides that an entry in the list lacks. */
static void
CompleteSharedEntry(CacheEntry *entry, int need, EmbeddingTable tables[2])
{
	PG_TRY();
	{
		LoadSides(entry, need, tables);
	}
	PG_CATCH();
	{
		DisownEntry(entry);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Has this transaction written the tables?  Then what it reads may be its own
 * rows, of which the stamp says nothing: hand edits, or half a retrain that a
 * trigger looks at.
 */
static bool
WrittenByMe(Relation head, const EmbeddingTable tables[2])
{
	if (CheckRelationLockedByMe(head, RowExclusiveLock, true))
		return true;
	for (Side side = USERS; side <= ITEMS; side++)
		if (tables[side].relation != NULL &&
			CheckRelationLockedByMe(tables[side].relation, RowExclusiveLock, true))
			return true;
	return false;
}

static bool
IsLoaded(const CacheEntry *entry, int need)
{
	return (entry->model.users.loaded || !(need & (NEED_USERS | NEED_USER))) &&
		(entry->model.items.loaded || !(need & NEED_ITEMS));
}

static CacheEntry *
LookAtModel(Relation head, const HeadRow *row, int need)
{
	EmbeddingTable tables[2];
	CacheEntry *entry = NULL;
	bool		filtered = ScanIsFiltered(head);
	bool		written;

	filtered |= OpenSides(row, RelationGetRelationName(head), need, tables);
	if (filtered && (need & NEED_USER))
		need |= NEED_USERS;		/* policies are heard once, and not for each user */
	written = WrittenByMe(head, tables);
	if (!filtered)
		entry = FindEntry(RelationGetRelid(head), HeadInt64(row, HEAD_STAMP, 0));
	if (entry != NULL && EntryMatches(entry, row, tables) && (IsLoaded(entry, need) || !written))
	{
		CompleteSharedEntry(entry, need, tables);
		ShareEntry(entry);
		return entry;
	}

	entry = MakeEntry(head, row);
	LoadSides(entry, need, tables);
	if (!filtered && !written)
		ShareEntry(entry);
	else
		MemoryContextSetParent(entry->context, CacheMemoryContext);
	return entry;
}

static CacheEntry *
Look(Oid head, int need)
{
	Relation	relation = ModelOpenHead(head);
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "collab look",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(work);
	HeadRow		row;
	CacheEntry *entry;

	if (!HeadReadCurrent(relation, &row))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("model \"%s\" has never been trained", RelationGetRelationName(relation))));
	HeadCheck(&row, RelationGetRelationName(relation));
	entry = LookAtModel(relation, &row, need);
	table_close(relation, NoLock);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(work);
	return entry;
}

CachedModel *
CachedModelGet(FmgrInfo *flinfo, Oid head, int need)
{
	Reader	   *reader = GetReader(flinfo);
	CacheEntry *entry;

	if (reader->entry != NULL && SameLook(&reader->key, head, need))
		return &reader->entry->model;

	/* before the look, which may itself see invalidations */
	RememberLook(&reader->key, head, need);
	reader->key.head = InvalidOid;
	entry = Look(head, need);
	entry->pins++;
	if (reader->entry != NULL)
		Unpin(reader->entry);
	if (reader->entry != entry && reader->state != NULL)
		memset(reader->state, 0, reader->state_size);
	reader->entry = entry;
	reader->key.head = head;
	EvictEntries();
	return &entry->model;
}

void *
CachedModelState(FmgrInfo *flinfo, Size size)
{
	Reader	   *reader = flinfo->fn_extra;

	if (reader->state == NULL)
	{
		reader->state = MemoryContextAllocZero(flinfo->fn_mcxt, size);
		reader->state_size = size;
	}
	return reader->state;
}

/*
 * Look a user up, or read them all.  The same snapshot is active under which
 * the head was looked at.
 */
static void
ReadAskedUser(CacheEntry *entry, cf_key key, bool many)
{
	AskedUsers *asked = &entry->asked;
	CachedModel *model = &entry->model;
	EmbeddingTable table = asked->table;

	if (asked->host != NULL && asked->host->used > (Size) collab_user_cache_size * 1024)
		ForgetAskedUsers(entry);
	if (asked->host == NULL)
		PrepareAskedUsers(entry);
	asked->n_read++;
	table.relation = table_open(model->users.table, AccessShareLock);
	if ((many && asked->n_read > asked->n_all / ROWS_PER_LOOKUP) ||
		!EmbeddingsReadOne(&table, asked->host, &model->model.users, model->users.dict, key))
		LoadSide(entry, &table);
	table_close(table.relation, NoLock);
}

uint32
CachedUserRow(CachedModel *model, cf_key key, bool many)
{
	CacheEntry *entry = (CacheEntry *) model;
	uint32		row = model->users.dict == NULL ? CF_NO_ROW : cf_dict_find(model->users.dict, key);

	if (row != CF_NO_ROW || model->users.loaded || !KeyFits(&model->users.key_type, key))
		return row;
	PG_TRY();
	{
		ReadAskedUser(entry, key, many);
	}
	PG_CATCH();
	{
		ForgetAskedUsers(entry);
		DisownEntry(entry);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return cf_dict_find(model->users.dict, key);
}

const float *
CachedNorms(CachedModel *model, Side side)
{
	const cf_side *rows = CachedRowsOf(model, side);
	CachedSide *cached = CachedSideOf(model, side);
	float	   *norms = cached->norms;

	if (norms != NULL)
		return norms;
	norms = cf_alloc(model->host, rows->n_rows, sizeof(float));
	if (norms == NULL)
		HostCheck(model->host, model->host->failure);
	for (uint32 row = 0; row < rows->n_rows; row++)
	{
		const float *factors = cf_side_row(rows, row);

		norms[row] = sqrtf(model->model.kernels->dot(factors, factors, rows->n_factors));
	}
	cached->norms = norms;
	return norms;
}
