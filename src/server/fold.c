/*
 * fold.c
 *	  Folding in on the server side.
 *
 * New rows of a side are found by one scan of the model's source, in which
 * the ratings that they can learn from are kept: those of partners that the
 * model knows, from the training part of the model's own split, so that the
 * held-out part stays unseen and an evaluation on it honest.  Keys are put in
 * order and ratings sorted, so that nothing depends on the order of the scan.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"

#include "core/cf_bayes.h"
#include "core/cf_ratings.h"
#include "server/compat.h"
#include "server/describe.h"
#include "server/embeddings.h"
#include "server/fold.h"
#include "server/host.h"
#include "server/ids.h"
#include "server/options.h"

#define FIRST_RATINGS	1024

static void
RequireDotProduct(bool has_net, const char *model)
{
	if (has_net)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" is neural: nothing can be folded in", model),
				 errhint("Retrain it, or train a model without use_nn.")));
}

static void
RequirePrior(const cf_prior *prior, Side side, const char *model)
{
	if (prior == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("head of model \"%s\" does not tell how its %s embeddings are spread",
						model, SideName(side)),
				 errhint("Train it again with collab.retrain().")));
}

static void
CheckFolded(cf_host *host, cf_status status, const char *model)
{
	if (status == CF_NOT_FINITE)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("ratings, or embeddings of model \"%s\", are too large to fold in", model)));
	HostCheck(host, status);
}

size_t
FoldInUser(const CachedModel *model, const uint32 *rows, const float4 *values, size_t n,
		   float4 *out)
{
	const cf_side *items = &model->model.items;
	cf_host    *host = HostCreate(CurrentMemoryContext, SIZE_MAX);
	size_t		n_used = 0;

	RequireDotProduct(model->model.net != NULL, model->name);
	RequirePrior(model->users.prior, USERS, model->name);
	for (size_t i = 0; i < n; i++)
		n_used += cf_fold_uses(&model->model, items, rows[i]);
	CheckFolded(host, cf_fold_in(&model->model, host, items, model->users.prior, rows, values, n, out),
				model->name);
	pfree(host);
	return n_used;
}

typedef struct NewRows
{
	Side		side;			/* whose rows are new */
	const char *name;			/* of the model */
	cf_host    *host;
	cf_model	model;
	cf_prior   *prior;
	cf_side    *rows;			/* the side's embeddings; the new ones come last */
	cf_dict    *dict;			/* keys of those that are there */
	cf_side    *partners;		/* those of the other side */
	cf_dict    *partner_dict;
	cf_key_kind kinds[2];		/* of users and items */
	uint64		seed;			/* of the model's split */
	float8		valid_pct;
	cf_dict    *new_keys;
	cf_rating  *ratings;		/* user: number of a new key, item: a partner's row */
	size_t		n;
	size_t		capacity;
	uint64		n_clipped;
	int			n_draws;		/* that a row's table has; 0: none */
} NewRows;

static void
AppendRating(NewRows *new, cf_rating rating)
{
	if (new->n == new->capacity)
	{
		size_t		capacity = Max(new->capacity * 2, FIRST_RATINGS);
		cf_rating  *ratings = cf_realloc(new->host, new->ratings, capacity, sizeof(cf_rating));

		if (ratings == NULL)
			HostCheck(new->host, new->host->failure);
		new->ratings = ratings;
		new->capacity = capacity;
	}
	new->ratings[new->n++] = rating;
}

/* One row of the source. */
static void
ConsumeRating(void *context, cf_key user, cf_key item, float4 rating, bool rated)
{
	NewRows    *new = context;
	const cf_model *model = &new->model;
	cf_key		key = new->side == USERS ? user : item;
	cf_key		partner = new->side == USERS ? item : user;
	cf_rating	found = {.value = rating};

	if (cf_dict_find(new->dict, key) != CF_NO_ROW)
		return;
	HostCheck(new->host, cf_dict_add(new->new_keys, key, &found.user));
	if (!rated)
		return;
	found.item = cf_dict_find(new->partner_dict, partner);
	if (found.item == CF_NO_ROW || !cf_fold_uses(model, new->partners, found.item) ||
		cf_ratings_is_valid(new->kinds[USERS], user, new->kinds[ITEMS], item,
							new->seed, new->valid_pct))
		return;
	new->n_clipped += model->link == CF_LINK_SIGMOID && (rating < model->low || rating > model->high);
	AppendRating(new, found);
}

/* The split that the current generation was trained with. */
static void
FindSplit(NewRows *new, const HeadRow *row)
{
	TrainOptions options;

	if (row->nulls[HEAD_OPTIONS])
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("head of model \"%s\" does not hold its options", new->name),
				 errhint("Train the model again with collab.train(..., replace => true).")));
	options = OptionsStored(DatumGetJsonbP(row->values[HEAD_OPTIONS]));
	new->seed = (uint64) options.seed;
	/* where none could be held out, all ratings train */
	new->valid_pct = HeadInt64(row, HEAD_N_VALID, 0) > 0 ? options.valid_pct : 0;
}

static void
OpenSource(Source *source, const HeadRow *row, const ModelTables *tables, const char *name)
{
	ModelSource remembered = SourceRemembered(row, CurrentMemoryContext);

	SourceOpenRemembered(source, &remembered, InvalidOid, name,
						 "Train the model on another with CALL collab.retrain(..., ratings => 'the_relation').");
	EmbeddingsRequireFamily(&tables->users, &source->user_key, name);
	EmbeddingsRequireFamily(&tables->items, &source->item_key, name);
}

/* The embeddings that are there, and what the head tells of them. */
static void
ReadModel(NewRows *new, const ModelTables *tables, const HeadRow *row)
{
	cf_model   *model = &new->model;
	float8		mean_bias[2];
	cf_dict    *dicts[2];

	new->prior = PriorFromHead(row, new->side, CurrentMemoryContext);
	RequirePrior(new->prior, new->side, new->name);
	ModelFromHead(row, new->name, new->host, model);
	mean_bias[USERS] = model->users.mean_bias;
	mean_bias[ITEMS] = model->items.mean_bias;
	EmbeddingsRead(&tables->users, HeadFactors(row, USERS, new->name), new->host, &model->users, &dicts[USERS]);
	EmbeddingsRead(&tables->items, HeadFactors(row, ITEMS, new->name), new->host, &model->items, &dicts[ITEMS]);
	model->users.mean_bias = mean_bias[USERS];
	model->items.mean_bias = mean_bias[ITEMS];

	new->n_draws = HeadHasNormals(row) ? HeadInt32(row, HEAD_N_DRAWS, 0) : 0;
	new->rows = new->side == USERS ? &model->users : &model->items;
	new->partners = new->side == USERS ? &model->items : &model->users;
	new->dict = dicts[new->side];
	new->partner_dict = dicts[new->side == USERS ? ITEMS : USERS];
}

/* Number the new keys in order, and sort the ratings by them. */
static void
OrderRatings(NewRows *new)
{
	uint32_t   *rank;

	HostCheck(new->host, cf_dict_sort(new->new_keys, &rank));
	for (size_t i = 0; i < new->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		new->ratings[i].user = rank[new->ratings[i].user];
	}
	cf_free(new->host, rank);
	HostCheck(new->host, cf_ratings_sort(new->host, new->ratings, new->n));
}

static size_t
MostRatingsOfOne(const NewRows *new)
{
	size_t		most = 0;
	size_t		first = 0;

	for (size_t i = 0; i < new->n; i++)
	{
		if (new->ratings[i].user != new->ratings[first].user)
			first = i;
		most = Max(most, i - first + 1);
	}
	return most;
}

/* Append the embedding of new key number "number"; its ratings begin at *next. */
static void
FoldInRow(NewRows *new, uint32 number, size_t *next, uint32 *partners, float4 *values)
{
	uint32		row = new->rows->n_rows;
	size_t		n = 0;

	for (; *next < new->n && new->ratings[*next].user == number; (*next)++, n++)
	{
		partners[n] = new->ratings[*next].item;
		values[n] = new->ratings[*next].value;
	}
	HostCheck(new->host, cf_side_append(new->rows, new->host));
	CheckFolded(new->host, cf_fold_in(&new->model, new->host, new->partners, new->prior, partners,
									  values, n, cf_side_row(new->rows, row)), new->name);
	new->rows->n_ratings[row] = (int64) n;
	if (new->rows->n_draws > 0 && n > 0)
		CheckFolded(new->host, cf_bayes_fold_draws(&new->model, new->host, new->partners, new->rows,
												   partners, values, n, new->seed, row,
												   cf_side_draws(new->rows, number)), new->name);
}

/* Room for the draws of the new rows alone, if there are draws at all. */
static void
TakeDraws(NewRows *new)
{
	cf_side    *rows = new->rows;

	rows->n_draws = (uint32) new->n_draws;
	if (new->n_draws == 0)
		return;
	rows->draws = cf_alloc_zero(new->host, cf_dict_count(new->new_keys),
								cf_draws_width(rows) * sizeof(float));
	if (rows->draws == NULL)
		HostCheck(new->host, new->host->failure);
}

static void
FoldInRows(NewRows *new)
{
	size_t		most = MostRatingsOfOne(new);
	uint32	   *partners = cf_alloc(new->host, most, sizeof(uint32));
	float4	   *values = cf_alloc(new->host, most, sizeof(float4));
	size_t		next = 0;

	if (partners == NULL || values == NULL)
		HostCheck(new->host, new->host->failure);
	TakeDraws(new);
	for (uint32 number = 0; number < cf_dict_count(new->new_keys); number++)
	{
		CHECK_FOR_INTERRUPTS();
		FoldInRow(new, number, &next, partners, values);
	}
}

/* A row that learnt nothing has the mean bias, now that it is known, unless it has its prior's mean. */
static void
SettleCold(NewRows *new, uint32 first, float8 mean_bias)
{
	if (new->rows->prior.row != NULL)
		return;
	for (uint32 row = first; row < new->rows->n_rows; row++)
		if (new->rows->n_ratings[row] == 0)
			cf_side_row(new->rows, row)[new->rows->n_factors] = (float4) mean_bias;
}

/* All that is done between opening the tables and closing them. */
static uint64
AddRows(NewRows *new, ModelTables *tables, HeadRow *row)
{
	const EmbeddingTable *table = new->side == USERS ? &tables->users : &tables->items;
	Source		source;
	uint32		n_known;

	HeadCheck(row, new->name);
	RequireDotProduct(HeadHasNet(row), new->name);
	FindSplit(new, row);
	OpenSource(&source, row, tables, new->name);
	ReadModel(new, tables, row);
	new->kinds[USERS] = source.user_key.kind;
	new->kinds[ITEMS] = source.item_key.kind;
	HostCheck(new->host, cf_dict_create(new->host, new->kinds[new->side], &new->new_keys));
	SourceScan(&source, SOURCE_RATINGS, ConsumeRating, new);
	if (cf_dict_count(new->new_keys) == 0)
		return 0;

	OrderRatings(new);
	EmbeddingsRequireFit(table, new->new_keys);
	NoticeClipped(new->name, new->n_clipped);
	n_known = new->rows->n_rows;
	FoldInRows(new);
	DescribeSide(row, new->side, new->rows, new->host);
	SettleCold(new, n_known, HeadFloat8(row, new->side == USERS ? HEAD_MEAN_USER_BIAS :
										HEAD_MEAN_ITEM_BIAS, 0));
	EmbeddingsInsert(table, new->rows, new->new_keys, n_known);
	HeadSet(row, HEAD_STAMP, Int64GetDatum(HeadNewStamp()));
	HeadUpdate(tables->head, row);
	return cf_dict_count(new->new_keys);
}

uint64
FoldInNewRows(Oid head, Side side)
{
	NewRows		new = {.side = side};
	ModelTables tables;
	HeadRow		row;
	uint64		added;

	ModelOpenForChange(head, &tables, &row);
	new.name = RelationGetRelationName(tables.head);
	new.host = HostCreate(CurrentMemoryContext, MaxMemory());
	added = AddRows(&new, &tables, &row);
	ModelCloseChanged(&tables);
	return added;
}
