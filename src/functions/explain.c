/*
 * explain.c
 *	  collab.explain(): what a prediction is made of.
 *
 * The terms add up to the logit (cf_model.h), from which the rating follows.
 * The biases are told apart from their means, so that the first term is what
 * an average user gives an average item:
 *
 *		logit = (mean_u + mean_i) + (b_u - mean_u) + (b_i - mean_i) + p . q
 *
 * The constant of a Bayesian model, whose contributions are ratings, is part of
 * the first term.
 *
 * and p . q is the sum over the factors, or, with v_c the principal components
 * of the items' factors and m their mean, of p . m and (p . v_c) (v_c . (q - m)).
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"

#include "core/cf_pca.h"
#include "core/cf_recommend.h"
#include "server/arguments.h"
#include "server/blas.h"
#include "server/cache.h"
#include "server/compat.h"
#include "server/host.h"

COLLAB_FUNCTION(collab_explain);

typedef struct Term
{
	const char *name;
	int			number;			/* of a factor or component, from 1; 0: none */
	double		contribution;	/* to the logit */
} Term;

typedef struct Explanation
{
	const CachedModel *model;
	const float *user;			/* NULL: cold */
	const float *item;
	bool		is_mean;		/* the prediction is the mean rating, exactly */
	int			n_terms;
	Term	   *terms;			/* room for all factors and a few */
} Explanation;

/* Terms that every explanation can have beside factors or components. */
#define OTHER_TERMS	5

static void
AddTerm(Explanation *explanation, const char *name, int number, double contribution)
{
	explanation->terms[explanation->n_terms++] = (Term) {name, number, contribution};
}

/* The logit of which the rating is the mean training rating; infinite outside the range. */
static double
MeanRatingLogit(const cf_model *model)
{
	double		share = (model->mean_rating - model->low) / ((double) model->high - model->low);

	if (model->link != CF_LINK_SIGMOID)
		return model->mean_rating;
	return log(Max(share, 0) / Max(1 - share, 0));
}

static void
AddBiases(Explanation *explanation)
{
	const cf_model *model = &explanation->model->model;
	uint32		bias = model->items.n_factors;
	double		user_mean = (float) model->users.mean_bias;
	double		item_mean = (float) model->items.mean_bias;

	if (!model->use_bias)
		return;
	AddTerm(explanation, "mean", 0, model->base + user_mean + item_mean);
	AddTerm(explanation, "user bias", 0, explanation->user ? explanation->user[bias] - user_mean : 0);
	AddTerm(explanation, "item bias", 0, explanation->item ? explanation->item[bias] - item_mean : 0);
}

/* Greatest effect first. */
static int
CompareTerms(const void *a, const void *b)
{
	const Term *x = a;
	const Term *y = b;

	if (fabs(x->contribution) != fabs(y->contribution))
		return fabs(x->contribution) > fabs(y->contribution) ? -1 : 1;
	return x->number - y->number;
}

static void
AddFactors(Explanation *explanation)
{
	uint32		n = explanation->model->model.items.n_factors;
	Term	   *first = explanation->terms + explanation->n_terms;

	for (uint32 f = 0; f < n; f++)
		AddTerm(explanation, "factor", (int) f + 1,
				(double) explanation->user[f] * explanation->item[f]);
	qsort(first, n, sizeof(Term), CompareTerms);
}

/* Components of all items that were trained on. */
static void
FitComponents(const CachedModel *model, cf_host *host, int n_components, cf_pca *pca)
{
	const cf_side *items = &model->model.items;
	uint32	   *rows = MemoryContextAllocHuge(CurrentMemoryContext,
											  Max(items->n_rows, 1) * sizeof(uint32));
	size_t		n = 0;

	for (uint32 row = 0; row < items->n_rows; row++)
		if (items->n_ratings[row] > 0)
			rows[n++] = row;
	HostCheck(host, cf_pca_fit(host, Blas(), items, rows, n, n_components, pca));
}

static double
Dot(const float *a, const double *b, uint32 n)
{
	double		sum = 0;

	for (uint32 f = 0; f < n; f++)
		sum += a[f] * b[f];
	return sum;
}

static void
AddComponents(Explanation *explanation, int n_components)
{
	cf_host    *host = HostCreate(CurrentMemoryContext, MaxMemory());
	uint32		n = explanation->model->model.items.n_factors;
	Term	   *first;
	double		rest = 0;
	cf_pca		pca;

	FitComponents(explanation->model, host, n_components, &pca);
	for (uint32 f = 0; f < n; f++)
		rest += (double) explanation->user[f] * explanation->item[f];
	first = explanation->terms + explanation->n_terms + 1;
	AddTerm(explanation, "average item", 0, Dot(explanation->user, pca.mean, n));
	rest -= first[-1].contribution;
	for (int c = 0; c < n_components; c++)
	{
		const double *component = pca.components + (size_t) c * n;
		double		along = Dot(explanation->item, component, n);

		for (uint32 f = 0; f < n; f++)
			along -= pca.mean[f] * component[f];
		AddTerm(explanation, "component", c + 1, Dot(explanation->user, component, n) * along);
		rest -= first[c].contribution;
	}
	qsort(first, n_components, sizeof(Term), CompareTerms);
	if ((uint32) n_components < n)
		AddTerm(explanation, "other components", 0, rest);
	cf_pca_release(host, &pca);
}

static void
Explain(Explanation *explanation, int n_components)
{
	const cf_model *model = &explanation->model->model;
	bool		known;

	/* a side that is cold is its prior's mean; where both are, it is the mean rating */
	if (explanation->user == NULL && explanation->item != NULL)
		explanation->user = model->users.prior.row;
	else if (explanation->item == NULL && explanation->user != NULL)
		explanation->item = model->items.prior.row;
	known = explanation->user != NULL && explanation->item != NULL;

	if (!known && (!model->use_bias || (explanation->user == NULL && explanation->item == NULL)))
	{
		AddTerm(explanation, "mean rating", 0, MeanRatingLogit(model));
		explanation->is_mean = true;
		return;
	}
	AddBiases(explanation);
	if (!known)
		return;
	if (n_components > 0)
		AddComponents(explanation, n_components);
	else
		AddFactors(explanation);
}

/* Each term, with the rating that it and those before it make. */
static void
AddTerms(FunctionCallInfo fcinfo, const Explanation *explanation)
{
	const cf_model *model = &explanation->model->model;
	double		logit = 0;

	for (int i = 0; i < explanation->n_terms; i++)
	{
		const Term *term = &explanation->terms[i];
		Datum		values[4];
		bool		nulls[4] = {false};

		logit += term->contribution;
		values[0] = CStringGetTextDatum(term->name);
		nulls[1] = term->number == 0;
		values[1] = Int32GetDatum(term->number);
		values[2] = Float8GetDatum(term->contribution);
		values[3] = Float4GetDatum(explanation->is_mean ? (float4) model->mean_rating :
								   cf_model_rating(model, (float) (logit - model->base)));
		AddResultRow(fcinfo, values, nulls);
	}
}

/* The key that an id argument stands for. */
static cf_key
KeyOf(FunctionCallInfo fcinfo, int argument, const CachedModel *model, Side side)
{
	KeyArgument key;

	KeyArgumentInit(&key, &CachedSideOf(model, side)->key_type,
					get_fn_expr_argtype(fcinfo->flinfo, argument), SideName(side), model->name);
	return KeyArgumentGet(&key, PG_GETARG_DATUM(argument));
}

static const float *
ItemEmbedding(const CachedModel *model, cf_key key)
{
	uint32		row = cf_dict_find(model->items.dict, key);

	return row == CF_NO_ROW || model->model.items.n_ratings[row] == 0 ? NULL :
		cf_side_row(&model->model.items, row);
}

Datum
collab_explain(PG_FUNCTION_ARGS)
{
	Explanation explanation = {0};
	CachedModel *model;
	int			n_components;

	BeginRows(fcinfo);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	model = CachedModelGet(fcinfo->flinfo, PG_GETARG_OID(0), NEED_USER | NEED_ITEMS);
	if (model->model.net != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("model \"%s\" is neural: its predictions have no parts that add up",
						model->name),
				 errhint("Train a model without use_nn.")));
	n_components = PG_ARGISNULL(3) ? 0 : ComponentsArgument(fcinfo, 3, model);
	explanation.model = model;
	explanation.terms = palloc((model->model.items.n_factors + OTHER_TERMS) * sizeof(Term));
	explanation.user = cf_user_embedding(&model->model,
										 CachedUserRow(model, KeyOf(fcinfo, 1, model, USERS), false));
	explanation.item = ItemEmbedding(model, KeyOf(fcinfo, 2, model, ITEMS));
	Explain(&explanation, n_components);
	AddTerms(fcinfo, &explanation);
	return (Datum) 0;
}
