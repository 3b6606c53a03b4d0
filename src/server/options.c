/*
 * options.c
 *	  The options of a training: from arguments, settled for a solver, checked,
 *	  and as the core's settings.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "core/cf_bayes.h"
#include "core/cf_sgd.h"
#include "server/blas.h"
#include "server/compat.h"
#include "server/option_table.h"

/* As text, in which pg_dump writes it, an array has 1 GB at most. */
#define MAX_WEIGHTS	(64 * 1024 * 1024)

TrainOptions
OptionsDefault(void)
{
	TrainOptions options = {.range_mode = RANGE_FROM_DATA};

	for (int i = 0; i < OptionsCount(); i++)
		if (option_table[i].fixed)
			OptionSetNumber(&options, &option_table[i], option_table[i].presets[0]);
	return options;
}

void
OptionsFromArguments(TrainOptions *options, FunctionCallInfo fcinfo, int first)
{
	*options = OptionsDefault();
	for (int i = 0; i < OptionsCount(); i++)
	{
		if (PG_ARGISNULL(first + i))
			OptionSetNull(options, &option_table[i]);
		else
			OptionSet(options, &option_table[i], PG_GETARG_DATUM(first + i));
	}
}

/* ---------- solvers ---------- */

/*
 * The solver as far as it is known before the ratings are: what "auto" may
 * choose knows no option that adam does not.
 */
static Solver
LikelySolver(const TrainOptions *options)
{
	if (options->use_nn)
		return SOLVER_MLP;
	switch ((SolverChoice) options->solver)
	{
		case CHOOSE_SGD:
			return SOLVER_SGD;
		case CHOOSE_BAYES:
			return SOLVER_BAYES;
		default:
			return SOLVER_ADAM;
	}
}

/* The first option that was given and that the solver does not know, if any. */
static const Option *
ForeignOption(const TrainOptions *options, Solver solver)
{
	for (int i = 0; i < OptionsCount(); i++)
		if (OptionIsGiven(options, &option_table[i]) && !OptionIsKnown(&option_table[i], solver))
			return &option_table[i];
	return NULL;
}

static Solver
ChooseSolver(const TrainOptions *options, size_t n_train)
{
	if (!options->use_nn && options->solver == CHOOSE_AUTO && n_train >= CF_LARGE_TABLE &&
		ForeignOption(options, SOLVER_SGD) == NULL)
		return SOLVER_SGD;
	return LikelySolver(options);
}

/* Fill in what was not given. */
TrainOptions
OptionsSettledFor(const TrainOptions *options, Solver solver)
{
	TrainOptions settled = *options;

	for (int i = 0; i < OptionsCount(); i++)
	{
		const Option *option = &option_table[i];

		if (!option->fixed && !OptionIsGiven(options, option))
			OptionSetNumber(&settled, option, option->presets[solver]);
	}
	settled.settled = true;
	settled.solver_used = solver;
	return settled;
}

/*
 * Sweeps of the sampler by the rules, where they were not given: as many as
 * n_train ratings need, and what was given leaves room for.
 */
static void
SettleSweeps(TrainOptions *options, size_t n_train)
{
	if (options->solver_used != SOLVER_BAYES)
		return;
	if (!OptionsGiven(options, "n_epochs"))
	{
		options->n_epochs = (int32) cf_bayes_sweeps(n_train);
		if (OptionsGiven(options, "burn_in"))
			options->n_epochs = Max(options->n_epochs, 2 * options->burn_in);
	}
	if (!OptionsGiven(options, "burn_in"))
		options->burn_in = (int32) cf_bayes_burn_in((uint32) options->n_epochs);
	if (!OptionsGiven(options, "n_epochs"))
		options->n_epochs = Max(options->n_epochs, options->burn_in + options->keep_draws);
}

/* Epochs and decay of the large tables' solver by the rules, likewise. */
static void
SettleDescent(TrainOptions *options, size_t n_train)
{
	if (options->solver_used != SOLVER_SGD)
		return;
	if (!OptionsGiven(options, "n_epochs"))
		options->n_epochs = (int32) cf_sgd_epochs(n_train);
	if (!OptionsGiven(options, "wd"))
		options->wd = cf_sgd_decay((uint32) options->n_epochs);
}

TrainOptions
OptionsSettle(const TrainOptions *options, const cf_ratings *ratings)
{
	TrainOptions settled = OptionsSettledFor(options, ChooseSolver(options, ratings->n_train));

	SettleSweeps(&settled, ratings->n_train);
	SettleDescent(&settled, ratings->n_train);
	return settled;
}

void
OptionsOverride(TrainOptions *options, Jsonb *jsonb)
{
	TrainOptions over = OptionsDefault();
	Solver		solver;

	OptionsFromJsonb(&over, jsonb);
	OptionsFromJsonb(options, jsonb);
	solver = LikelySolver(options);
	for (int i = 0; i < OptionsCount(); i++)
		if (!OptionIsKnown(&option_table[i], solver) && !OptionIsGiven(&over, &option_table[i]))
			OptionForget(options, &option_table[i]);
}

cf_schedule
OptionsSchedule(const TrainOptions *options)
{
	cf_schedule schedule = {.kind = CF_SCHEDULE_ONE_CYCLE};

	schedule.cycle.lr_max = options->lr_max;
	schedule.cycle.pct_start = options->pct_start;
	schedule.cycle.div_start = options->div_start;
	schedule.cycle.div_final = options->div_final;
	schedule.cycle.mom_low = options->mom_low;
	schedule.cycle.mom_high = options->mom_high;
	return schedule;
}

static void
CheckOption(TrainOptions *options, const Option *option)
{
	void	   *field = OptionField(options, option);

	if (!option->fixed && !OptionIsGiven(options, option))
		return;
	/* written so that NaN fails */
	if (option->kind == OPTION_REAL &&
		!(*(float8 *) field >= option->least && *(float8 *) field <= option->greatest))
		OptionIsBad(option);
	if (option->kind == OPTION_INTEGER &&
		(*(int32 *) field < option->least || *(int32 *) field > option->greatest))
		OptionIsBad(option);
}

static void
NothingHeldOut(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("keep_best needs ratings that are held out for validation"),
			 detail != NULL ? errdetail("%s", detail) : 0,
			 errhint("Give a greater valid_pct.")));
}

/* An option that only one solver has tells what is missing. */
static void
ForeignError(const Option *option, Solver solver)
{
	if (solver == SOLVER_MLP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a neural model has no option \"%s\"", option->name),
				 errhint("Its embeddings have user_factors and item_factors, and biases are in its layers.")));
	if (option->solvers == 1 << SOLVER_MLP)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only a neural model has an option \"%s\"", option->name),
				 errhint("Give use_nn => true, too.")));
	if (option->solvers == 1 << SOLVER_BAYES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("only solver \"bayes\" has an option \"%s\"", option->name),
				 errhint("Give solver => 'bayes', too.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("solver \"%s\" has no option \"%s\"", solver_names[solver], option->name),
			 errhint("Leave it out, or give another solver.")));
}

static void
CheckSolver(const TrainOptions *options)
{
	Solver		solver = LikelySolver(options);
	const Option *foreign = ForeignOption(options, solver);

	if (options->use_nn && options->solver != CHOOSE_AUTO && options->solver != CHOOSE_ADAM)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("solver \"%s\" cannot train a neural model",
						OptionNamed("solver")->choices[options->solver]),
				 errhint("Leave out solver, or use_nn.")));
	if (foreign != NULL)
		ForeignError(foreign, solver);
}

/* After all others: are there sweeps to average, and to draw from? */
static void
CheckSweeps(const TrainOptions *options)
{
	TrainOptions copy = *options;

	SettleSweeps(&copy, 0);
	if (copy.solver_used != SOLVER_BAYES)
		return;
	if (copy.n_epochs <= copy.burn_in)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n_epochs must be greater than burn_in"),
				 errdetail("Of %d sweeps none would be left to average after %d.",
						   copy.n_epochs, copy.burn_in)));
	if (copy.keep_draws > copy.n_epochs - copy.burn_in)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keep_draws must be at most n_epochs minus burn_in"),
				 errdetail("There are %d sweeps after burn-in to keep %d draws of.",
						   copy.n_epochs - copy.burn_in, copy.keep_draws)));
}

void
OptionsCheck(const TrainOptions *options)
{
	TrainOptions copy = *options;

	for (int i = 0; i < OptionsCount(); i++)
		CheckOption(&copy, &option_table[i]);

	CheckSolver(options);
	if (options->range_mode == RANGE_GIVEN &&
		(!isfinite(options->low) || !isfinite(options->high) ||
		 options->low >= options->high || !isfinite(options->high - options->low)))
		RangeIsBad();
	copy = OptionsSettledFor(options, LikelySolver(options));
	if (copy.lr_max * copy.wd >= 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lr_max times wd must be less than 1"),
				 errdetail("Each step would take all of every embedding away.")));
	CheckSweeps(&copy);
	if (options->keep_best && options->valid_pct == 0)
		NothingHeldOut(NULL);
}

void
OptionsRequireHeldOut(const TrainOptions *options, const cf_ratings *ratings)
{
	if (options->keep_best && ratings->n_valid == 0)
		NothingHeldOut("There are too few ratings to hold any out.");
}

void
OptionsGiveNumber(TrainOptions *options, const char *name, float8 value)
{
	const Option *option = OptionNamed(name);

	OptionSetNumber(options, option, value);
	OptionMarkGiven(options, option);
}

bool
OptionsGiven(const TrainOptions *options, const char *name)
{
	return OptionIsGiven(options, OptionNamed(name));
}

bool
OptionsUseSampler(const TrainOptions *options)
{
	return LikelySolver(options) == SOLVER_BAYES;
}

bool
OptionsKnow(const TrainOptions *options, const char *name)
{
	return OptionIsKnown(OptionNamed(name), options->solver_used);
}

const cf_solver *
OptionsSolver(const TrainOptions *options)
{
	Assert(options->settled);
	return cf_solver_named(solver_names[options->solver_used]);
}

/* What a neural model has beside the other settings. */
static void
SetNet(cf_settings *settings, const TrainOptions *options, const cf_ratings *ratings)
{
	static const uint32 default_layers[] = {100, 50};
	cf_net_shape *net = &settings->net;

	net->user_factors = options->user_factors > 0 ? (uint32) options->user_factors :
		cf_net_default_factors(cf_dict_count(ratings->users));
	net->item_factors = options->item_factors > 0 ? (uint32) options->item_factors :
		cf_net_default_factors(cf_dict_count(ratings->items));
	net->n_layers = options->n_layers > 0 ? (uint32) options->n_layers : lengthof(default_layers);
	for (uint32 i = 0; i < net->n_layers; i++)
		net->layers[i] = options->n_layers > 0 ? (uint32) options->layers[i] : default_layers[i];
	net->batch_norm = options->batch_norm;
	if (cf_net_size(net) > MAX_WEIGHTS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a neural model can have at most %d weights, not %zu", MAX_WEIGHTS,
						cf_net_size(net)),
				 errhint("Make its layers smaller.")));
	settings->dropout = options->dropout;
	settings->blas = Blas();
	settings->use_bias = false;
}

/* What the sampler has.  Its range is that of the ratings, unless another is given. */
static void
SetSampler(cf_settings *settings, const TrainOptions *options)
{
	settings->burn_in = (uint32) options->burn_in;
	settings->implicit = (cf_implicit) options->implicit;
	settings->keep_draws = (uint32) options->keep_draws;
	settings->use_bias = true;
	settings->use_range = options->range_mode == RANGE_GIVEN;
}

cf_settings
OptionsToSettings(const TrainOptions *options, const cf_ratings *ratings)
{
	cf_settings settings = {0};
	size_t		batch_size = options->batch_size;

	Assert(options->settled);
	if (batch_size == 0 && OptionIsKnown(OptionNamed("batch_size"), options->solver_used))
		batch_size = cf_default_batch_size(ratings->n_train);
	settings.n_factors = options->n_factors;
	settings.n_epochs = options->n_epochs;
	settings.batch_size = (uint32) Min(batch_size, ratings->n_train);
	settings.wd = options->wd;
	settings.schedule = OptionsSchedule(options);
	settings.seed = (uint64) options->seed;
	settings.use_bias = options->use_bias;
	settings.keep_best = options->keep_best;
	if (options->use_nn)
		SetNet(&settings, options, ratings);
	settings.use_range = options->range_mode != RANGE_NONE;
	if (options->solver_used == SOLVER_BAYES)
		SetSampler(&settings, options);
	if (options->range_mode == RANGE_GIVEN)
	{
		settings.low = options->low;
		settings.high = options->high;
	}
	else if (settings.use_range)
		cf_default_range(ratings->low, ratings->high, &settings.low, &settings.high);
	return settings;
}
