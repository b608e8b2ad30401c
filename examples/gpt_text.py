"""A GPT that learns to write like a text, token by token, and then does.

    python examples/gpt_text.py
    python examples/gpt_text.py --text my.txt --tokenizer characters --prompt "Once "

The text is --text, or tiny Shakespeare from --data-dir or $MINAE_DATA; with none of them, the pages
of Python's own help. The last tenth is held out. The run folder keeps weights, tokenizer, metrics,
curves and samples; ``GPT.load(folder)`` and ``seq.load_tokenizer(folder / "tokenizer.json")`` give
model and tokenizer back.
"""

import sys
from functools import partial

import minae
from minae import command, pictures
from minae.data import load_text
from minae.io import write_file
from minae.models import GPT
from minae.optim import AdamW, cosine, warmup
from minae.seq import (
    BPETokenizer,
    CharacterTokenizer,
    Windows,
    bits_per_character,
    load_tokenizer,
    perplexity,
    sample,
)
from minae.train import fit

OPTIONS = ("text", "tokenizer", "symbols", "context", "layers", "features", "heads", "dropout")


def main(options, out):
    say = partial(print, file=out, flush=True)
    say(f"GPT, minae {minae.__version__} on {minae.xp.__name__}, seed {options.seed}")
    text = load_text(options.text, options.data_dir, report=say)
    command.check_data(options, text.name, "its folder with --data-dir")
    cut = len(text.content) * 9 // 10
    train, test = text.content[:cut], text.content[cut:]
    if options.dry_run:
        train, test = train[:20_000], test[:2_000]

    if options.resume:
        tokenizer = load_tokenizer(options.resume / "tokenizer.json")
    elif options.tokenizer == "characters":
        tokenizer = CharacterTokenizer.train([text.content])
    else:
        tokenizer = BPETokenizer.train([train], options.symbols)
    ids, held_out = tokenizer.encode(train), tokenizer.encode(test)
    prompt = encoded_prompt(options, tokenizer)
    say(f"{len(tokenizer.vocabulary)} symbols, {len(train) / len(ids):.2f} characters each")

    minae.seed(options.seed)
    model = GPT(len(tokenizer.vocabulary), options.context, options.layers, options.features,
                options.heads, options.dropout)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    optimizer = AdamW([{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
                      options.lr, betas=(0.9, 0.99), weight_decay=0.1)
    data = Windows(ids, options.context)
    steps = command.steps(options, len(data))

    say(f"{sum(p.size for p in model.parameters()):,} parameters")
    run = command.begin(options, OPTIONS, f"gpt_{text.name}", say, data=text.name,
                        source=text.source, checksum=command.checksum([text.content]),
                        model=model.config)
    tokenizer.save(run.folder / "tokenizer.json")
    fit(model, optimizer, data, run, epochs=options.epochs, batch_size=options.batch_size,
        seed=options.seed, steps=steps, clip=1.0, out=out,
        schedule=lambda step: options.lr * warmup(step, 100) * cosine(step, steps, 0.05))

    model.eval()
    found = model.evaluate(held_out)
    bits = bits_per_character(found["nats"], len(test))
    metrics = {
        "text": text.name, "epochs": options.epochs, "bits_per_character": bits,
        "perplexity": perplexity(found["nats"], found["tokens"]), "tokens": found["tokens"],
        "symbols": len(tokenizer.vocabulary), "seed": options.seed, **run.summary(),
    }  # fmt: skip
    model.save(run.folder)
    run.write("metrics.json", metrics)
    written = [options.prompt + more for more in write(model, tokenizer, prompt)]
    write_file(run.folder / "samples.txt", "\n\n--------\n\n".join(written).encode())
    say("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in written[0]))
    with pictures.if_possible(say):
        pictures.curves(run.folder / "curves.png", {"loss": [row["loss"] for row in run.history]})
    say(f"{bits:.3f} bits per character on the held-out tenth, {metrics['seconds']:.0f} s:"
        f" see {run.folder}")
    return metrics


def encoded_prompt(options, tokenizer):
    """The ids of the prompt. It is read before training, so that what is wrong is told at once."""
    try:
        ids = tokenizer.encode(options.prompt)
    except KeyError as error:
        raise ValueError(f"--prompt: {error.args[0]}") from error
    if not 0 < len(ids) < options.context:
        raise ValueError(f"--prompt must be 1 token or more, fewer than --context"
                         f" {options.context}: it has {len(ids)}")
    return ids


def write(model, tokenizer, prompt):
    """Four continuations of the ``prompt``, at the temperature 0.8."""
    rows = minae.xp.array([prompt] * 4)
    with minae.no_grad():
        state = model.start(rows[:, :-1])
        length = model.context - len(prompt)
        drawn = sample(model.step, state, rows[:, -1], length=length, temperature=0.8)
    return [*map(tokenizer.decode, drawn.tokens.tolist())]


if __name__ == "__main__":
    parser = command.parser(__doc__, epochs=4, batch_size=8, lr=2e-3)
    add = parser.add_argument
    add("--text", type=command.folder, metavar="FILE", help="the text to learn")
    add("--tokenizer", choices=("bpe", "characters"), default="bpe", help="tokens (%(default)s)")
    add("--symbols", type=command.positive(int), default=512, metavar="N",
        help="vocabulary of the byte-pair encoding (%(default)s)")
    add("--context", type=command.positive(int), default=128, metavar="N",
        help="tokens that are seen at once (%(default)s)")
    add("--layers", type=command.positive(int), default=4, metavar="N", help="(%(default)s)")
    add("--features", type=command.positive(int), default=256, metavar="N", help="(%(default)s)")
    add("--heads", type=command.positive(int), default=8, metavar="N", help="(%(default)s)")
    add("--dropout", type=float, default=0.0, metavar="P", help="(%(default)s)")
    add("--prompt", default="\n", help="what the samples begin with")
    sys.exit(command.run(main, parser))
