"""A VQ-VAE on MNIST: digits as 7x7 grids of codes.

    python examples/vqvae_mnist.py
    python examples/vqvae_mnist.py --dataset fashion --epochs 5 --out runs/fashion

MNIST is taken from --data-dir, $MINAE_DATA, the cache or the network; with none of them, digits
are drawn by a generator. The run folder keeps the weights, the metrics and four pictures, and
``minae.models.VQVAE.load(folder)`` gives the model back.
"""

import json
import sys

import minae
from minae import command, pictures
from minae.data import load_images, pixels
from minae.models import VQVAE
from minae.optim import Adam
from minae.run import Run
from minae.train import fit

STARTED_WITH = ("epochs", "batch_size", "lr", "seed", "codebook_size", "dataset", "dry_run")


def main(options):
    out = sys.stderr if options.json else sys.stdout

    def say(line):
        print(line, file=out, flush=True)

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

    settings = {name: getattr(options, name) for name in STARTED_WITH}
    settings["dataset"] = data.name  # what was found, so that a resumed run looks for the same
    settings["data_dir"] = options.data_dir and str(options.data_dir.resolve())
    config = {"options": settings, "source": data.source, "model": model.config}
    if options.resume:
        run = Run.open(options.resume)
        run.config = config  # --epochs and --data-dir may be new
        if not (run.folder / "checkpoint.npz").exists():
            say("there is no checkpoint yet: the run begins anew")
    else:
        name = "vqvae_" + data.name + ("_dry" if options.dry_run else "")
        run = Run.create(options.out or command.new_folder(name), config)
    say(f"run folder: {run.folder}")
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
    if options.json:
        print(json.dumps(metrics))


def draw(model, run, test, counts, say):
    """The four pictures of the run folder."""
    images = pixels(test[:16])
    codes = model.encode(images)
    history = {name: [row[name] for row in run.history] for name in ("loss", "mse", "perplexity")}
    try:
        pictures.image_rows(run.folder / "reconstructions.png",
                            {"original": images, "reconstruction": model.decode(codes)})
        pictures.curves(run.folder / "curves.png", history, log=("loss", "mse"))
        pictures.usage(run.folder / "codebook.png", counts)
        pictures.code_grids(run.folder / "codes.png", images[:6], codes[:6], len(counts))
    except ImportError as error:
        say(f"no pictures: {error}")


if __name__ == "__main__":
    parser = command.parser(__doc__, epochs=2, batch_size=128, lr=1e-3)
    parser.add_argument("--codebook-size", type=command.positive(int), default=512, metavar="K",
                        help="codewords (%(default)s)")
    parser.add_argument("--dataset", choices=("mnist", "fashion", "digits"), default="mnist",
                        help="what to train on (%(default)s)")
    sys.exit(command.run(main, parser))
