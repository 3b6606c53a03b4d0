#!/usr/bin/env python3
"""Trains a peer from PyPI on a file of ratings, for bench/scale.

    peers.py surprise|cmfrec TRAIN VALID THREADS

The files have lines "user item rating".  50 factors, three decays, all else
as the peer has it: prints the seconds of the training whose error on VALID is the
least (the ratings are in memory then, in the peer's own form where it has one),
that error as a root mean square, and what was given.
"""
import sys
import time

import numpy as np


def rmse(predicted, valid):
    return float(np.sqrt(np.mean((np.asarray(predicted) - valid[:, 2]) ** 2)))


def surprise(train, valid, _):
    import pandas
    from surprise import SVD, Dataset, Reader

    frame = pandas.DataFrame({"user": train[:, 0].astype(int), "item": train[:, 1].astype(int), "rating": train[:, 2]})
    reader = Reader(rating_scale=(train[:, 2].min(), train[:, 2].max()))
    ratings = Dataset.load_from_df(frame, reader).build_full_trainset()
    for decay in 0.02, 0.05, 0.1:
        model = SVD(n_factors=50, reg_all=decay, random_state=1)
        began = time.perf_counter()
        model.fit(ratings)
        seconds = time.perf_counter() - began
        yield seconds, rmse([model.predict(int(u), int(i)).est for u, i, _ in valid], valid), f"reg_all={decay}"


def cmfrec(train, valid, threads):
    import pandas
    from cmfrec import CMF

    frame = pandas.DataFrame({"UserId": train[:, 0].astype(int), "ItemId": train[:, 1].astype(int), "Rating": train[:, 2]})
    for decay in {"lambda_": 10.0}, {"lambda_": 20.0}, {"lambda_": 0.05, "scale_lam": True}:
        model = CMF(k=50, nthreads=threads, verbose=False, **decay)
        began = time.perf_counter()
        model.fit(frame)
        seconds = time.perf_counter() - began
        yield seconds, rmse(model.predict(valid[:, 0].astype(int), valid[:, 1].astype(int)), valid), ", ".join(f"{name}={value}" for name, value in decay.items())


def main():
    peer, train_file, valid_file, threads = sys.argv[1:]
    train = np.loadtxt(train_file)
    valid = np.loadtxt(valid_file)
    seconds, error, given = min({"surprise": surprise, "cmfrec": cmfrec}[peer](train, valid, int(threads)), key=lambda t: t[1])
    print(f"{seconds:.3f} {error:.4f} {given}")


main()
