"""A stand-in for CuPy that needs no GPU: its manners on NumPy's storage, for tests alone.

``PYTHONPATH=tests/standin:. MINAE_BACKEND=cupy python -m pytest`` runs the suite on it. It takes
what CuPy 14 takes, or less, and computes what CuPy computes: arrays of a class of their own, which
nothing converts in silence; results without dimensions that stay arrays; indices that wrap;
assignments in another order than NumPy's; memory from an allocator that may run out; streams that
capture. ``cupy.standin.count`` counts the points at which the host would wait for the device.

``array`` holds the array, ``functions`` the functions, ``cuda`` the device, ``standin`` what only
the stand-in has. There are no kernels in CUDA here: no ``RawKernel``, no ``RawModule``.
"""

from . import cuda, functions, standin
from .cuda import get_default_memory_pool
from .functions import *  # noqa: F403

__version__ = "14.2.0"
globals().update(functions.MADE)
