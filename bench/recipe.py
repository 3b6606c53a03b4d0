#!/usr/bin/env python3
"""The default model of collab in PyTorch, for comparison of time.

    recipe.py RATINGS [--epochs 5] [--wd 0.1] [--no-bias] [--no-range]
              [--threads 1] [--seed 0] [--valid FILE] [--cpu-time]

RATINGS: lines "user item rating", tab separated (any text ids).  Prints one
line: the seconds that training took (without reading and start-up), and with
--valid the mean squared error there.  --cpu-time: seconds of the processor.

prediction = low + (high - low) sigmoid(P[u] . Q[i] + b[u] + b[i]), squared
error, batches of 64 in a fresh order each epoch, Adam with decoupled weight
decay under a one-cycle schedule.  Whole tables take part in every step.
Without biases, or without the sigmoid and its range, on demand.
"""
import argparse
import math
import time

import torch

FACTORS, BATCH, LR_MAX, DECAY, LOW, HIGH = 50, 64, 5e-3, 0.1, 0.0, 5.5
WARM_UP, DIV_START, DIV_FINAL = 0.25, 25, 1e5
MOM_HIGH, MOM_LOW, BETA2, EPSILON = 0.95, 0.85, 0.99, 1e-5


def between(start, end, x):
    """Half a cosine wave from start (x = 0) to end (x = 1)."""
    return start + (end - start) * (1 - math.cos(math.pi * x)) / 2


def schedule(x):
    """Learning rate and momentum at the share x of all steps."""
    if x < WARM_UP:
        x /= WARM_UP
        return between(LR_MAX / DIV_START, LR_MAX, x), between(MOM_HIGH, MOM_LOW, x)
    x = (x - WARM_UP) / (1 - WARM_UP)
    return between(LR_MAX, LR_MAX / DIV_FINAL, x), between(MOM_LOW, MOM_HIGH, x)


class Model(torch.nn.Module):
    def __init__(self, n_users, n_items, use_bias=True, use_range=True):
        super().__init__()
        self.use_bias, self.use_range = use_bias, use_range

        def table(rows, columns):
            weight = torch.nn.Embedding(rows, columns)
            with torch.no_grad():
                weight.weight.normal_().fmod_(2).mul_(0.01)
            return weight

        self.users, self.items = table(n_users, FACTORS), table(n_items, FACTORS)
        if use_bias:
            self.user_bias, self.item_bias = table(n_users, 1), table(n_items, 1)

    def forward(self, users, items):
        score = (self.users(users) * self.items(items)).sum(1)
        if self.use_bias:
            score = score + self.user_bias(users)[:, 0] + self.item_bias(items)[:, 0]
        if not self.use_range:
            return score
        return LOW + (HIGH - LOW) * torch.sigmoid(score)


class Adam:
    def __init__(self, parameters, decay=DECAY):
        self.parameters, self.decay = list(parameters), decay
        self.mean = [torch.zeros_like(p) for p in self.parameters]
        self.square = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self, rate, momentum):
        self.steps += 1
        first = 1 - momentum ** self.steps
        second = 1 - BETA2 ** self.steps
        for p, m, v in zip(self.parameters, self.mean, self.square):
            p.mul_(1 - rate * self.decay)
            m.mul_(momentum).add_(p.grad, alpha=1 - momentum)
            v.mul_(BETA2).addcmul_(p.grad, p.grad, value=1 - BETA2)
            p.addcdiv_(m, v.div(second).sqrt_().add_(EPSILON), value=-rate / first)
            p.grad = None


def read(name, users, items, grow):
    rows = []
    with open(name, encoding="utf-8") as lines:
        for line in lines:
            user, item, rating = line.rstrip("\n").split("\t")
            if grow:
                rows.append((users.setdefault(user, len(users)), items.setdefault(item, len(items)), float(rating)))
            else:   # the last row of a table is for the unknown
                rows.append((users.get(user, len(users)), items.get(item, len(items)), float(rating)))
    columns = list(zip(*rows))
    return torch.tensor(columns[0]), torch.tensor(columns[1]), torch.tensor(columns[2])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ratings")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--wd", type=float, default=DECAY)
    parser.add_argument("--no-bias", action="store_true")
    parser.add_argument("--no-range", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--valid")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    known_users, known_items = {}, {}
    users, items, ratings = read(options.ratings, known_users, known_items, True)
    model = Model(len(known_users) + 1, len(known_items) + 1, not options.no_bias, not options.no_range)
    adam = Adam(model.parameters(), options.wd)
    per_epoch = len(ratings) // BATCH
    total = options.epochs * per_epoch

    clock = time.process_time if options.cpu_time else time.perf_counter
    began = clock()
    for _ in range(options.epochs):
        order = torch.randperm(len(ratings))[:per_epoch * BATCH]
        for batch in order.split(BATCH):
            loss = torch.nn.functional.mse_loss(model(users[batch], items[batch]), ratings[batch])
            loss.backward()
            adam.step(*schedule(adam.steps / total))
    seconds = clock() - began

    result = f"{seconds:.4f}"
    if options.valid:
        users, items, ratings = read(options.valid, known_users, known_items, False)
        with torch.no_grad():
            error = torch.nn.functional.mse_loss(model(users, items), ratings).item()
        result += f" {error:.4f}"
    print(result)


if __name__ == "__main__":
    main()
