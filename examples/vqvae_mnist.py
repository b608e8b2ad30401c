"""A VQ-VAE on MNIST: digits as 7x7 grids of codes.

    python examples/vqvae_mnist.py
    python examples/vqvae_mnist.py --dataset fashion --epochs 5 --out runs/fashion

MNIST is taken from --data-dir, $MINAE_DATA, the cache or the network; with none of them, digits
are drawn by a generator. The run folder keeps the weights, the metrics and four pictures, and
``minae.models.VQVAE.load(folder)`` gives the model back.
"""

import sys
from functools import partial

import minae
from minae import command, pictures
from minae.data import load_images, pixels
from minae.models import VQVAE
from minae.optim import Adam
from minae.train import fit

OPTIONS = ("codebook_size", "dataset")  # of its own, which a resumed run has again


def main(options, out):
    say = partial(print, file=out, flush=True)
    say(f"VQ-VAE, {options.codebook_size} codes, minae {minae.__version__} on {minae.xp.__name__},"
        f" seed {options.seed}")
    data = load_images(options.dataset, options.data_dir, report=say)
    if options.resume and data.name != options.dataset:
        raise ValueError(f"{options.resume} was trained on {options.dataset}, which is not at hand:"
                         " give its folder with --data-dir")
    train, test = data.train_images, data.test_images
    if options.dry_run:
        train, test = train[: 4 * options.batch_size], test[:256]

    minae.seed(options.seed)
    model = VQVAE(codes=options.codebook_size)
    optimizer = Adam(model.parameters(), options.lr)

    options.dataset = data.name  # what was found, so that a resumed run looks for the same
    run = command.begin(options, OPTIONS, f"vqvae_{data.name}", say, source=data.source,
                        model=model.config)
    fit(model, optimizer, train, run, epochs=options.epochs, batch_size=options.batch_size,
        seed=options.seed, steps=4 if options.dry_run else None, out=out)

    model.eval()
    result = model.evaluate(test)
    metrics = {
        "dataset": data.name, "epochs": options.epochs, "test_mse": result["mse"],
        "perplexity": result["perplexity"], "active_codes": result["active_codes"],
        "codebook_size": options.codebook_size, "seed": options.seed, **run.summary(),
    }  # fmt: skip
    model.save(run.folder)
    run.write("metrics.json", metrics)
    draw(model, run, test, result["code_counts"], say)
    say(f"test MSE {metrics['test_mse']:.5f}, perplexity {metrics['perplexity']:.0f} and"
        f" {metrics['active_codes']} active of {options.codebook_size} codes,"
        f" {metrics['seconds']:.0f} s: see {run.folder}")
    return metrics


def draw(model, run, test, counts, say):
    """The four pictures of the run folder."""
    images = pixels(test[:16])
    codes = model.encode(images)
    history = {name: [row[name] for row in run.history] for name in ("loss", "mse", "perplexity")}
    with pictures.if_possible(say):
        pictures.image_rows(run.folder / "reconstructions.png",
                            {"original": images, "reconstruction": model.decode(codes)})
        pictures.curves(run.folder / "curves.png", history, log=("loss", "mse"))
        pictures.usage(run.folder / "codebook.png", counts)
        pictures.code_grids(run.folder / "codes.png", images[:6], codes[:6], len(counts))


if __name__ == "__main__":
    parser = command.parser(__doc__, epochs=2, batch_size=128, lr=1e-3)
    parser.add_argument("--codebook-size", type=command.positive(int), default=512, metavar="K",
                        help="codewords (%(default)s)")
    parser.add_argument("--dataset", choices=("mnist", "fashion", "digits"), default="mnist",
                        help="what to train on (%(default)s)")
    sys.exit(command.run(main, parser))
