#!/usr/bin/env python3
"""The neural model of collab in PyTorch, for comparison of accuracy and time.

    neural_torch.py RATINGS [--layers 100,50] [--epochs 5] [--lr 5e-3] [--wd 0.1]
                    [--plain] [--dropout 0] [--threads 1] [--seed 0] [--valid FILE]
                    [--cpu-time]

RATINGS: lines "user item rating", tab separated (any text ids).  Prints one
line: the seconds that training took (without reading and start-up), and with
--valid the mean squared error there.  --cpu-time: seconds of the processor.

Embeddings of both sides, side by side, go through the layers: linear without
bias, ReLU, batch normalisation, dropout; then a linear layer to one output and
the scaled sigmoid.  --plain: linear with bias and ReLU, no normalisation.
Squared error, batches of 64 in a fresh order each epoch, Adam with decoupled
weight decay under a one-cycle schedule.  Biases and normalisation do not
decay.  Whole tables take part in every step; their row 0 is for the unknown.
"""
import argparse
import time

import torch

import recipe

BATCH = recipe.BATCH


def embedding_size(rows):
    return min(600, round(1.6 * rows ** 0.56))


class Net(torch.nn.Module):
    def __init__(self, n_users, n_items, layers, plain, dropout):
        super().__init__()

        def table(rows):
            weight = torch.nn.Embedding(rows, embedding_size(rows))
            with torch.no_grad():
                weight.weight.normal_().fmod_(2).mul_(0.01)
            return weight

        self.users, self.items = table(n_users), table(n_items)
        width = self.users.embedding_dim + self.items.embedding_dim
        stack = []
        for units in layers:
            stack += [torch.nn.Linear(width, units, bias=plain), torch.nn.ReLU()]
            if not plain:
                stack.append(torch.nn.BatchNorm1d(units))
                torch.nn.init.constant_(stack[-1].bias, 1e-3)
            if dropout > 0:
                stack.append(torch.nn.Dropout(dropout))
            width = units
        self.layers = torch.nn.Sequential(*stack, torch.nn.Linear(width, 1))

    def forward(self, users, items):
        score = self.layers(torch.cat([self.users(users), self.items(items)], 1))[:, 0]
        return recipe.LOW + (recipe.HIGH - recipe.LOW) * torch.sigmoid(score)


def optimisers(net, decay):
    """Two of recipe.Adam: what decays, and what does not."""
    exempt = []
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            exempt += list(module.parameters())
        elif getattr(module, "bias", None) is not None:
            exempt.append(module.bias)
    spared = {id(parameter) for parameter in exempt}
    decaying = [p for p in net.parameters() if id(p) not in spared]
    return [recipe.Adam(decaying, decay), recipe.Adam(exempt, 0)]


def read(name, users, items, grow):
    rows = []
    with open(name, encoding="utf-8") as lines:
        for line in lines:
            user, item, rating = line.rstrip("\n").split("\t")
            if grow:
                users.setdefault(user, len(users) + 1)
                items.setdefault(item, len(items) + 1)
            rows.append((users.get(user, 0), items.get(item, 0), float(rating)))
    columns = list(zip(*rows))
    return torch.tensor(columns[0]), torch.tensor(columns[1]), torch.tensor(columns[2])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ratings")
    parser.add_argument("--layers", default="100,50")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--lr", type=float, default=recipe.LR_MAX)
    parser.add_argument("--wd", type=float, default=recipe.DECAY)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--dropout", type=float, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--valid")
    parser.add_argument("--cpu-time", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)
    recipe.LR_MAX = options.lr

    known_users, known_items = {}, {}
    users, items, ratings = read(options.ratings, known_users, known_items, True)
    net = Net(len(known_users) + 1, len(known_items) + 1,
              [int(units) for units in options.layers.split(",")], options.plain, options.dropout)
    steppers = optimisers(net, options.wd)
    per_epoch = len(ratings) // BATCH
    total = options.epochs * per_epoch

    clock = time.process_time if options.cpu_time else time.perf_counter
    began = clock()
    for _ in range(options.epochs):
        order = torch.randperm(len(ratings))[:per_epoch * BATCH]
        for batch in order.split(BATCH):
            loss = torch.nn.functional.mse_loss(net(users[batch], items[batch]), ratings[batch])
            loss.backward()
            rate, momentum = recipe.schedule(steppers[0].steps / total)
            for stepper in steppers:
                stepper.step(rate, momentum)
    seconds = clock() - began

    result = f"{seconds:.4f}"
    if options.valid:
        users, items, ratings = read(options.valid, known_users, known_items, False)
        net.eval()
        with torch.no_grad():
            error = torch.nn.functional.mse_loss(net(users, items), ratings).item()
        result += f" {error:.4f}"
    print(result)


if __name__ == "__main__":
    main()
