"""What an embedder does, in a process that may write nothing, ask nobody and start nothing.

    python -B tests/models/embedded.py FOLDER

Loads the VQVAE in FOLDER, encodes and decodes FOLDER/images.npy, and prints the codes, the sum of
the pixels, and which packages outside the standard library were loaded.
"""

import sys


def refuse(event, arguments):
    writes = event == "open" and set(str(arguments[1])) & set("wax+")
    if writes or event in ("socket.__new__", "subprocess.Popen", "os.mkdir", "os.rename"):
        raise SystemExit(f"refused: {event} {arguments[:2]}")


sys.addaudithook(refuse)

import numpy  # noqa: E402

from minae.models import VQVAE  # noqa: E402

model = VQVAE.load(sys.argv[1])
codes = model.encode(numpy.load(sys.argv[1] + "/images.npy"))
print(codes.ravel().tolist(), float(model.decode(codes).sum()))
packages = {name.split(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(*sorted(name for name in packages if not name.startswith("_")))
