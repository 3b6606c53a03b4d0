/*
 * libmf.cpp
 *	  Drives LIBMF (https://www.csie.ntu.edu.tw/~cjlin/libmf/) for bench/scale:
 *	  50 factors, squared error, all else as LIBMF has it.
 *
 *	  g++ -O3 -march=native -DUSEAVX libmf.cpp mf.cpp -I FOLDER-OF-mf.h -pthread
 *	  ./libmf curve TRAIN VALID THREADS ITERATIONS L2...
 *	  ./libmf time TRAIN MODEL THREADS L2 ITERATIONS
 *
 * curve prints a line for each L2: L2, the least error of the held-out ratings
 * after any of the iterations, the first iteration whose error is within
 * 0.0005 of it, and the error there.
 *
 * time prints seconds: reading TRAIN, that many iterations without validation
 * (what comes before and after them is the time of one iteration, from which
 * the others differ), and all from TRAIN to MODEL.
 */
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "mf.h"

static double
now()
{
	return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static mf::mf_problem
read(const char *path)
{
	mf::mf_problem problem = mf::read_problem(path);

	if (problem.nnz == 0)
	{
		std::cerr << path << ": no ratings" << std::endl;
		exit(1);
	}
	return problem;
}

static mf::mf_parameter
parameter(const char *threads, const char *l2, int iterations)
{
	mf::mf_parameter p = mf::mf_get_default_param();

	p.k = 50;
	p.nr_threads = atoi(threads);
	p.lambda_p2 = p.lambda_q2 = strtof(l2, NULL);
	p.nr_iters = iterations;
	p.quiet = true;
	return p;
}

/*
 * LIBMF tells its errors in a table on the standard output only: a line of
 * names, then iteration, training error, held-out error, objective.
 */
static std::vector<double>
held_out_errors(const mf::mf_problem &train, const mf::mf_problem &valid, mf::mf_parameter p)
{
	std::stringstream table;
	std::streambuf *out = std::cout.rdbuf(table.rdbuf());
	std::vector<double> errors;
	std::string line;
	double		iteration,
				error,
				held_out;
	mf::mf_model *model;

	p.quiet = false;
	model = mf::mf_train_with_validation(&train, &valid, p);
	std::cout.rdbuf(out);
	mf::mf_destroy_model(&model);
	while (std::getline(table, line))
		if (std::istringstream(line) >> iteration >> error >> held_out)
			errors.push_back(held_out);
	if (errors.empty())
	{
		std::cerr << "LIBMF told no errors" << std::endl;
		exit(1);
	}
	return errors;
}

static void
curve(char **argv, int n)
{
	mf::mf_problem train = read(argv[0]);
	mf::mf_problem valid = read(argv[1]);

	for (int i = 4; i < n; i++)
	{
		std::vector<double> errors =
			held_out_errors(train, valid, parameter(argv[2], argv[i], atoi(argv[3])));
		double		best = *std::min_element(errors.begin(), errors.end());
		size_t		first = 0;

		/* they have four decimals */
		while (errors[first] > best + 0.00050001)
			first++;
		printf("%s %.4f %zu %.4f\n", argv[i], best, first + 1, errors[first]);
	}
}

/* Saves the model where a file is named; returns the seconds of the training. */
static double
train_seconds(const mf::mf_problem &train, const mf::mf_parameter &p, const char *save)
{
	double		began = now();
	mf::mf_model *model = mf::mf_train(&train, p);
	double		seconds = now() - began;

	if (model == NULL || (save && mf::mf_save_model(model, save) != 0))
	{
		std::cerr << "LIBMF failed" << std::endl;
		exit(1);
	}
	mf::mf_destroy_model(&model);
	return seconds;
}

static void
measure(char **argv)
{
	int			n = std::max(atoi(argv[4]), 2);
	double		began = now();
	mf::mf_problem train = read(argv[0]);
	double		reading = now() - began;
	double		one = train_seconds(train, parameter(argv[2], argv[3], 1), NULL);
	double		all;

	began = now();
	all = train_seconds(train, parameter(argv[2], argv[3], n), argv[1]);
	printf("%.3f %.3f %.3f\n", reading, (all - one) * n / (n - 1), reading + now() - began);
}

int
main(int argc, char **argv)
{
	if (argc > 6 && strcmp(argv[1], "curve") == 0)
		curve(argv + 2, argc - 2);
	else if (argc == 7 && strcmp(argv[1], "time") == 0)
		measure(argv + 2);
	else
	{
		std::cerr << "usage: libmf curve TRAIN VALID THREADS ITERATIONS L2... | "
			"time TRAIN MODEL THREADS L2 ITERATIONS" << std::endl;
		return 2;
	}
	return 0;
}
