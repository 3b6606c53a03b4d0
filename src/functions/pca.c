/*
 * pca.c
 *	  collab.pca_project(), collab.pca_explained(): principal components of
 *	  the items' factors.
 *	  collab.pca_project_users(), collab.pca_explained_users(): of the users'.
 *
 * Who or what has no training ratings has no factors and takes no part.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "core/cf_pca.h"
#include "server/arguments.h"
#include "server/blas.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_pca_project);
COLLAB_FUNCTION(collab_pca_project_typed);
COLLAB_FUNCTION(collab_pca_explained);
COLLAB_FUNCTION(collab_pca_project_users);
COLLAB_FUNCTION(collab_pca_project_users_typed);
COLLAB_FUNCTION(collab_pca_explained_users);

/* A fit to a side's rows, or to those of them with most ratings. */
typedef struct Components
{
	Side		side;
	cf_host    *host;
	CachedModel *model;
	uint32	   *rows;			/* most ratings first, then in key order */
	size_t		n_rows;
	cf_pca		pca;
} Components;

static int
CompareByRatings(const void *a, const void *b, void *arg)
{
	const cf_side *side = arg;
	uint32		row_a = *(const uint32 *) a;
	uint32		row_b = *(const uint32 *) b;

	CHECK_FOR_INTERRUPTS();		/* millions of rows take a while to sort */
	if (side->n_ratings[row_a] != side->n_ratings[row_b])
		return side->n_ratings[row_a] > side->n_ratings[row_b] ? -1 : 1;
	return row_a < row_b ? -1 : row_a > row_b;
}

static void
SelectRows(Components *fit, int64 top)
{
	cf_side    *side = CachedRowsOf(fit->model, fit->side);

	fit->rows = MemoryContextAllocHuge(CurrentMemoryContext,
									   Max(side->n_rows, 1) * sizeof(uint32));
	fit->n_rows = 0;
	for (uint32 row = 0; row < side->n_rows; row++)
		if (side->n_ratings[row] > 0)
			fit->rows[fit->n_rows++] = row;
	qsort_arg(fit->rows, fit->n_rows, sizeof(uint32), CompareByRatings, side);
	fit->n_rows = Min(fit->n_rows, (size_t) top);
}

/* Arguments: model, n_components, and "top" at the given place. */
static bool
FitSide(FunctionCallInfo fcinfo, Side side, int arg_top, Components *fit)
{
	int32		n_components = PositiveArgument(fcinfo, 1, "n_components");
	int64		top = PG_ARGISNULL(arg_top) ? PG_INT64_MAX : PositiveArgument(fcinfo, arg_top, "top");
	uint32		n_factors;

	BeginRows(fcinfo);
	if (PG_ARGISNULL(0))
		return false;
	fit->host = HostCreate(CurrentMemoryContext, MaxMemory());
	fit->side = side;
	fit->model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NeedSide(side));
	n_factors = CachedRowsOf(fit->model, side)->n_factors;
	if ((uint32) n_components > n_factors)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n_components must be at most %u, the number of factors of model \"%s\"",
						n_factors, fit->model->name)));
	SelectRows(fit, top);
	if (fit->n_rows == 0)
		return false;
	HostCheck(fit->host, cf_pca_fit(fit->host, Blas(), CachedRowsOf(fit->model, side),
									fit->rows, fit->n_rows, n_components, &fit->pca));
	return true;
}

static Datum
ProjectionDatum(const cf_pca *pca, const float *factors, float *buffer, Datum *elements)
{
	cf_pca_project(pca, factors, buffer);
	for (uint32 c = 0; c < pca->n_components; c++)
		elements[c] = Float4GetDatum(buffer[c]);
	return PointerGetDatum(construct_array(elements, pca->n_components, FLOAT4OID,
										   sizeof(float4), true, TYPALIGN_INT));
}

/* id_type: number of that argument, or -1. */
static Datum
PcaProject(FunctionCallInfo fcinfo, Side side, int id_type, int arg_top)
{
	static const char *const call[] = {
		[USERS] = "collab.pca_project_users(model, n_components, NULL::%s)",
		[ITEMS] = "collab.pca_project(model, n_components, NULL::%s)"
	};
	Components	fit;
	const cf_side *rows;
	float	   *buffer;
	Datum	   *elements;
	IdType		type;

	if (!FitSide(fcinfo, side, arg_top, &fit))
		return (Datum) 0;
	type = IdResultType(fcinfo, id_type, fit.model, side, call[side]);
	rows = CachedRowsOf(fit.model, side);
	buffer = palloc(fit.pca.n_components * sizeof(float));
	elements = palloc(fit.pca.n_components * sizeof(Datum));
	for (size_t i = 0; i < fit.n_rows; i++)
	{
		uint32		row = fit.rows[i];
		Datum		values[3];
		bool		nulls[3] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = IdDatum(&type, fit.model, side, row);
		values[1] = ProjectionDatum(&fit.pca, cf_side_row(rows, row), buffer, elements);
		values[2] = Int64GetDatum(rows->n_ratings[row]);
		AddResultRow(fcinfo, values, nulls);
	}
	return (Datum) 0;
}

Datum
collab_pca_project(PG_FUNCTION_ARGS)
{
	return PcaProject(fcinfo, ITEMS, -1, 2);
}

Datum
collab_pca_project_typed(PG_FUNCTION_ARGS)
{
	return PcaProject(fcinfo, ITEMS, 2, 3);
}

Datum
collab_pca_project_users(PG_FUNCTION_ARGS)
{
	return PcaProject(fcinfo, USERS, -1, 2);
}

Datum
collab_pca_project_users_typed(PG_FUNCTION_ARGS)
{
	return PcaProject(fcinfo, USERS, 2, 3);
}

static Datum
PcaExplained(FunctionCallInfo fcinfo, Side side)
{
	Components	fit;

	if (!FitSide(fcinfo, side, 2, &fit))
		return (Datum) 0;
	for (uint32 c = 0; c < fit.pca.n_components; c++)
	{
		Datum		values[3];
		bool		nulls[3] = {false};

		values[0] = Int32GetDatum((int32) c + 1);
		values[1] = Float8GetDatum(fit.pca.variance[c]);
		nulls[2] = fit.pca.total_variance <= 0;
		values[2] = nulls[2] ? (Datum) 0 :
			Float8GetDatum(Min(fit.pca.variance[c] / fit.pca.total_variance, 1.0));
		AddResultRow(fcinfo, values, nulls);
	}
	return (Datum) 0;
}

Datum
collab_pca_explained(PG_FUNCTION_ARGS)
{
	return PcaExplained(fcinfo, ITEMS);
}

Datum
collab_pca_explained_users(PG_FUNCTION_ARGS)
{
	return PcaExplained(fcinfo, USERS);
}
