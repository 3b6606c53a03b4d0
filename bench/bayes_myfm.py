"""MyFM's Gibbs sampler on user and item ids, for bench/bayes.

	bayes_myfm.py TRAIN VALID [--factors 20] [--sweeps 60] [--burn-in 10] [--seed 1]

Both files have lines "user item rating", tab separated.  Prints the seconds
of the training and the mean squared error on VALID, kept in the range of the
training ratings.
"""
import argparse
import time

import myfm
import numpy as np
import scipy.sparse as sparse


def read(name):
	with open(name, encoding="utf-8") as lines:
		return [line.rstrip("\n").split("\t") for line in lines]


def number(rows, column):
	return {key: n for n, key in enumerate(sorted({row[column] for row in rows}))}


def one_hot(rows, users, items):
	"""Columns are users, then items; who is unknown has none."""
	places = [(n, at) for n, row in enumerate(rows)
		for at in (users.get(row[0]), items[row[1]] + len(users) if row[1] in items else None)
		if at is not None]
	at = np.array(places).T
	return sparse.csr_matrix((np.ones(len(places)), (at[0], at[1])),
		shape=(len(rows), len(users) + len(items)))


def main():
	parser = argparse.ArgumentParser()
	parser.add_argument("train")
	parser.add_argument("valid")
	parser.add_argument("--factors", type=int, default=20)
	parser.add_argument("--sweeps", type=int, default=60)
	parser.add_argument("--burn-in", type=int, default=10)
	parser.add_argument("--seed", type=int, default=1)
	args = parser.parse_args()
	train, valid = read(args.train), read(args.valid)
	users, items = number(train, 0), number(train, 1)
	x, y = one_hot(train, users, items), np.array([float(row[2]) for row in train])
	groups = [0] * len(users) + [1] * len(items)
	began = time.perf_counter()
	model = myfm.MyFMGibbsRegressor(rank=args.factors, random_seed=args.seed)
	model.fit(x, y, n_iter=args.sweeps, n_kept_samples=args.sweeps - args.burn_in,
		group_shapes=[groups.count(0), groups.count(1)])
	seconds = time.perf_counter() - began
	predicted = np.clip(model.predict(one_hot(valid, users, items)), y.min(), y.max())
	errors = predicted - np.array([float(row[2]) for row in valid])
	print(f"{seconds:.3f} {np.mean(errors ** 2):.4f}")


if __name__ == "__main__":
	main()
