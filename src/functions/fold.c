/*
 * fold.c
 *	  collab.fold_in(): the embedding of somebody who is in no table.
 *	  collab.add_users(), collab.add_items(): rows for those who are new.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "server/arguments.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/fold.h"
#include "server/ids.h"

COLLAB_FUNCTION(collab_fold_in);
COLLAB_FUNCTION(collab_add_users);
COLLAB_FUNCTION(collab_add_items);

Datum
collab_fold_in(PG_FUNCTION_ARGS)
{
	CachedModel *model;
	Datum		values[3];
	bool		nulls[3] = {false};
	int			n_factors;
	float4	   *embedding;
	uint32	   *rows;
	float4	   *ratings;
	size_t		n;

	BeginRows(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NEED_ITEMS);
	n = ReadRatedItems(fcinfo, 1, 2, model, &rows, &ratings);
	n_factors = (int) model->model.items.n_factors;
	embedding = palloc((n_factors + 1) * sizeof(float4));
	n = FoldInUser(model, rows, ratings, n, embedding);
	values[0] = Float4GetDatum(embedding[n_factors]);
	values[1] = Float4ArrayDatum(embedding, n_factors);
	values[2] = Int64GetDatum((int64) n);
	AddResultRow(fcinfo, values, nulls);
	return (Datum) 0;
}

Datum
collab_add_users(PG_FUNCTION_ARGS)
{
	uint64		added;

	PreventCommandIfReadOnly("collab.add_users()");
	SPI_connect();
	added = FoldInNewRows(PG_GETARG_OID(0), USERS);
	SPI_finish();
	PG_RETURN_INT64((int64) added);
}

Datum
collab_add_items(PG_FUNCTION_ARGS)
{
	uint64		added;

	PreventCommandIfReadOnly("collab.add_items()");
	SPI_connect();
	added = FoldInNewRows(PG_GETARG_OID(0), ITEMS);
	SPI_finish();
	PG_RETURN_INT64((int64) added);
}
