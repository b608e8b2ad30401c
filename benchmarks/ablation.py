"""What keeps a codebook alive: {gradient, EMA} x {random, k-means} x {revival off, on}, on MNIST.

    python benchmarks/ablation.py                       # eight runs of ours, eight of PyTorch's
    python benchmarks/ablation.py --only ema-kmeans-revived --seeds 0 1 2 3 4

Each run is the example's: 2 epochs, batch 128, Adam 1e-3, 512 codes of 64; then the mean squared
error, perplexity and active codes over the whole test set. PyTorch trains the twin in
benchmarks/twin.py on batches in the same order.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np

from minae.data import batch_indices, load_mnist

EPOCHS, BATCH, LR = 2, 128, 1e-3
CASES = {
    f"{learn}-{init}-{'revived' if revive else 'plain'}": (learn, init, revive)
    for learn, init, revive in itertools.product(("gradient", "ema"), ("random", "kmeans"),
                                                 (0.0, 0.3))
}  # fmt: skip


def order(count, seed):
    for epoch in range(EPOCHS):
        yield from batch_indices(count, BATCH, seed=seed, epoch=epoch)


def minae(train, test, seed, learn, init, revive):
    import minae as m
    from minae import vq
    from minae.models import VQVAE
    from minae.optim import Adam

    m.seed(seed)
    model = VQVAE()
    kind = vq.VectorQuantizer if learn == "gradient" else vq.VectorQuantizerEMA
    if (learn, init, revive) != ("ema", "kmeans", 0.3):  # else it is the model's own
        model.quantizer = kind(512, 64, init=init, revive=revive)
    optimizer = Adam(model.parameters(), LR)
    for chosen in order(len(train), seed):
        loss, _ = model.loss(train[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().evaluate(test)


def torch(train, test, seed, learn, init, revive):
    import torch as t
    import torch.nn.functional as F
    from twin import VQVAE, trainable

    t.manual_seed(seed)
    model = VQVAE(ema=learn == "ema", init=init, revive=revive)
    model = model.to(memory_format=t.channels_last)
    optimizer = t.optim.Adam(trainable(model), LR)

    def pixels(images):
        return t.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(255))

    for chosen in order(len(train), seed):
        x = pixels(train[chosen])
        y, _, loss = model(x)
        loss = loss + F.mse_loss(y, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    counts, error = t.zeros(512), 0.0
    with t.no_grad():
        for start in range(0, len(test), 500):
            x = pixels(test[start : start + 500])
            y, codes, _ = model(x)
            error += float(((y - x) ** 2).sum())
            counts += t.bincount(codes, minlength=512)
    share = counts[counts > 0] / counts.sum()
    perplexity = float((-(share * share.log()).sum()).exp())
    return {"mse": error / test.size, "perplexity": perplexity,
            "active_codes": int((counts > 0).sum())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--contenders", choices=("minae", "torch"), nargs="+",
                        default=["minae", "torch"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    data = load_mnist(options.data_dir)
    rows = []
    print(f"{'codebook':<28} {'contender':<9} seed  test MSE  perplexity  active codes")
    for case, seed, contender in itertools.product(options.only, options.seeds,
                                                   options.contenders):
        train = {"minae": minae, "torch": torch}[contender]
        found = train(data.train_images, data.test_images, seed, *CASES[case])
        rows.append({"case": case, "contender": contender, "seed": seed,
                     **{k: found[k] for k in ("mse", "perplexity", "active_codes")}})
        print(f"{case:<28} {contender:<9} {seed:>4}  {found['mse']:.5f}"
              f" {found['perplexity']:>11.1f} {found['active_codes']:>13}", flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    sys.exit(main())
