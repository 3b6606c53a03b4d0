/*
 * seen.c
 *	  What users have rated, read from a model's source.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "server/arguments.h"
#include "server/compat.h"
#include "server/host.h"
#include "server/seen.h"

/* The way out where the source cannot be read. */
#define WAY_OUT		"To recommend also what the user has rated, pass exclude_seen => false."

/* For every error that comes up while the source is read. */
static void
AddWayOut(void *arg)
{
	const CachedModel *model = arg;

	switch (geterrcode())
	{
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_DATATYPE_MISMATCH:
		case ERRCODE_INVALID_SCHEMA_NAME:
		case ERRCODE_INVALID_NAME:
		case ERRCODE_WRONG_OBJECT_TYPE:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			errhint("%s", WAY_OUT);
			break;
		default:
			break;
	}
	errcontext("reading what users of model \"%s\" have rated", model->name);
}

/* Planned once a cached model, for any user; the server plans it anew when it has to. */
static SPIPlanPtr
SeenPlan(CachedModel *model, const Source *source)
{
	Oid			type = model->users.key_type.type;
	char	   *query;

	if (model->seen_plan != NULL)
		return model->seen_plan;
	query = psprintf("SELECT r.%s FROM %s r WHERE r.%s OPERATOR(pg_catalog.=) $1 "
					 "AND r.%s IS NOT NULL",
					 pstrdup(quote_identifier(NameStr(source->item_column))), source->name,
					 pstrdup(quote_identifier(NameStr(source->user_column))),
					 pstrdup(quote_identifier(NameStr(source->rating_column))));
	model->seen_plan = SPI_prepare_cursor(query, 1, &type, CURSOR_OPT_GENERIC_PLAN);
	if (model->seen_plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_keepplan(model->seen_plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	return model->seen_plan;
}

/* Rows of the items that the query has returned; others are none of the model's. */
static size_t
KnownItems(const CachedModel *model, uint32 *rows)
{
	Oid			type = getBaseType(SPI_gettypeid(SPI_tuptable->tupdesc, 1));
	size_t		n = 0;

	if (KeyFamilyOf(type) != model->items.key_type.family)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of %s is now of type %s",
						NameStr(model->source.item_column), model->source.name,
						format_type_be(type))));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		uint32		row = isnull ? CF_NO_ROW :
			cf_dict_find(model->items.dict, KeyFromDatum(type, value));

		if (row != CF_NO_ROW)
			rows[n++] = row;
	}
	return n;
}

/* The source as it is now, its ids of the families of the model's keys. */
static Source
OpenSource(const CachedModel *model)
{
	Source		source;

	SourceOpenRemembered(&source, &model->source, InvalidOid, model->name, WAY_OUT);
	SourceRequireTrusted(&source, WAY_OUT);
	RequireKeyFamilies(model, &source, WAY_OUT);
	source.read_only = true;	/* under the caller's snapshot */
	return source;
}

static size_t
ReadSeen(CachedModel *model, const Source *source, cf_key user, uint32 **rows)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		value;
	size_t		n;

	SPI_connect();
	value = KeyToDatum(model->users.key_type.type, user);
	if (SPI_execute_plan(SeenPlan(model, source), &value, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	*rows = MemoryContextAllocHuge(caller, Max(SPI_processed, 1) * sizeof(uint32));
	n = KnownItems(model, *rows);
	SPI_finish();
	return n;
}

size_t
SeenByUser(CachedModel *model, cf_key user, uint32 **rows)
{
	ErrorContextCallback context = {error_context_stack, AddWayOut, model};
	Source		source;
	size_t		n = 0;

	*rows = NULL;
	error_context_stack = &context;
	source = OpenSource(model);
	if (KeyFits(&model->users.key_type, user))
		n = ReadSeen(model, &source, user, rows);
	error_context_stack = context.previous;
	return n;
}

typedef struct SeenBuilder
{
	CachedModel *model;
	cf_host    *host;
	cf_seen    *seen;
} SeenBuilder;

static void
AddSeen(void *context, cf_key user, cf_key item, float4 rating, bool rated)
{
	SeenBuilder *builder = context;
	uint32		user_row = cf_dict_find(builder->model->users.dict, user);
	uint32		item_row = cf_dict_find(builder->model->items.dict, item);

	if (rated && user_row != CF_NO_ROW && item_row != CF_NO_ROW)
		HostCheck(builder->host, cf_seen_add(builder->seen, user_row, item_row));
}

cf_seen *
SeenByAll(CachedModel *model, cf_host *host)
{
	ErrorContextCallback context = {error_context_stack, AddWayOut, model};
	SeenBuilder builder = {model, host, NULL};
	Source		source;

	error_context_stack = &context;
	source = OpenSource(model);
	HostCheck(host, cf_seen_create(host, model->model.users.n_rows, &builder.seen));
	SPI_connect();
	SourceScan(&source, SOURCE_PAIRS, AddSeen, &builder);
	SPI_finish();
	HostCheck(host, cf_seen_freeze(builder.seen));
	error_context_stack = context.previous;
	return builder.seen;
}
