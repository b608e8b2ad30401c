"""Write BENCHMARKS.md from the results of the benchmarks.

    python benchmarks/report.py                      # of benchmarks/results/*.json, as they are
    python benchmarks/report.py --run                # measure everything anew, first
    python benchmarks/report.py --run nearest conv   # or some of it

A section is a script's docstring, its command, and what its ``tables`` makes of the figures. The
long trainings are not run: what they gave stands in benchmarks/trainings.md. Nor is gpu.py, which
needs a card; without its figures the section says what is not measured.
"""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

import harness

HERE = Path(__file__).parent
SCRIPTS = {  # in the order of the report, with the options that measure well
    "nearest": "--rounds 2 --target 0.3", "scaling": "--rounds 2 --target 0.3",
    "conv": "--rounds 3 --target 0.3", "layers": "--rounds 3 --target 0.2",
    "roofline": "--rounds 2 --target 0.3",
    "sums": "--rounds 7 --target 0.3", "charts": "--rounds 3 --target 0.3",
    "step": "--rounds 5 --target 1.5", "memory": "--rounds 3",
    "language": "--rounds 5 --target 2", "language_memory": "--rounds 3",
    "graph_memory": "--rounds 3", "compile": "--rounds 3",
    "tokenizing": "--rounds 3 --target 0.01",
    "tree_lstm": "--rounds 4 --target 0.3",
    "overhead": "--rounds 9 --target 0.6", "imports": "--rounds 10",
}
PICTURES = {
    "scaling": "Time of a search against N, K and D",
    "roofline": "GFLOP/s of the kernels against arithmetic intensity",
}
HEAD = """# Benchmarks

Written by `python benchmarks/report.py --run`, which measures all but the GPU and the trainings.
Every table has the command that made it. Each contender runs in a process of its own, and they take
turns, round after round. Times are medians over the rounds. A ratio is the peer's time (or memory)
over ours in the same round, as median (lowest to highest): **above 1, minae is faster**. Absolute
times belong to the machine; repeat the command where a figure matters to you (the peers come with
`pip install -e ".[examples,oracles]"`).

The machine, unless a section names another: {machine}
"""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", nargs="*", choices=SCRIPTS, metavar="SCRIPT",
                        help="measure first: these scripts, or all")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="the JSON files")
    parser.add_argument("--output", type=Path, default=HERE.parent / "BENCHMARKS.md")
    options = parser.parse_args()
    if options.run is not None:
        options.results.mkdir(exist_ok=True)
        for name in options.run or SCRIPTS:
            print(f"--- {name}", file=sys.stderr)
            path = options.results / f"{name}.json"
            command = [sys.executable, HERE / f"{name}.py", *SCRIPTS[name].split()]
            subprocess.run([*command, "--json", path], check=True)
    paths = [options.results / f"{name}.json" for name in SCRIPTS]
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
    if not results:
        parser.error(f"there are no results in {options.results}: try --run")
    machine = results[0]["machine"]
    head = HEAD.format(machine=harness.describe(machine))
    results.append(on_a_gpu(options.results / "gpu.json", machine))
    sections = [section(result, machine, options.output.parent) for result in results]
    trainings = (HERE / "trainings.md").read_text(encoding="utf-8")
    options.output.write_text("\n".join([head, *sections, trainings]), encoding="utf-8")


def on_a_gpu(path, machine):
    """What gpu.py has found, or nothing yet."""
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"script": "gpu", "command": "python benchmarks/gpu.py", "machine": machine,
            "others": None, "figures": {}}  # fmt: skip


def section(result, usual, folder):
    """The part of the report that a script's results make; pictures go below ``folder``.

    The machine is told where it is not the ``usual`` one.
    """
    name, figures = result["script"], result["figures"]
    script = importlib.import_module(name)
    title, _, text = (part.strip("\n") for part in script.__doc__.split("\n\n", 2))
    parts = [f"## {title}", f"    {result['command']}", text, script.tables(figures)]
    if name in PICTURES:
        import plots

        place = Path("benchmarks", "plots", f"{name}.png")
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        plots.draw(name, figures, folder / place)
        parts.append(f"![{PICTURES[name]}]({place.as_posix()})")
    machine = "" if result["machine"] == usual else f"On {harness.describe(result['machine'])} "
    parts.append(machine + harness.taken(result["others"]))
    return "\n\n".join(filter(None, parts)) + "\n"


if __name__ == "__main__":
    main()
