"""Import

    python benchmarks/imports.py

`import minae` against `import numpy`: whole processes, from the start of the interpreter to its
end, alternating, after one of each that compiles to byte code and warms the file cache. Neither
Numba nor CuPy, SciPy or PyTorch is loaded, or this script fails.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial

from harness import arguments, compared, publish

HEAVY = {"numba", "cupy", "scipy", "torch"}
LOADED = "import json, sys, minae; print(json.dumps([m.split('.')[0] for m in sys.modules]))"


def seconds(code, environment):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def main():
    options = arguments(__doc__, rounds=20).parse_args()
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", LOADED], text=True))
    if found := HEAVY & set(loaded):
        sys.exit(f"import minae loads {sorted(found)}")
    times = {"import minae": [], "import numpy": []}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        for number in range(options.rounds + 1):
            for code in times:
                elapsed = seconds(code, environment)
                if number:
                    times[code].append(round(elapsed, 5))
    publish(options, {"a process": times}, tables)


tables = partial(compared, ours="import minae")

if __name__ == "__main__":
    main()
