"""``RawModule`` without a GPU: CUDA sources compiled for the CPU, by ``g++`` and ``emulator.h``.

Slow, and it knows no races; but a kernel that computes something wrong, misses a barrier, or is
called with arguments of other types than it declares, fails here. Asynchronous copies are done at
once, or backwards, only when they are waited for. Denormal floats are 0 in arithmetic, as in all
that CuPy compiles.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy

HEADER = Path(__file__).with_name("emulator.h")
SIGNATURE = re.compile(r'extern "C"\s+emulated_kernel\s+void\s+(\w+)\s*\(([^)]*)\)')
TYPES = {
    "float": "float32", "double": "float64", "int": "int32", "unsigned": "uint32",
    "unsigned int": "uint32", "long long": "int64", "unsigned long long": "uint64", "bool": "bool",
    "signed char": "int8", "unsigned char": "uint8", "short": "int16", "unsigned short": "uint16",
}  # fmt: skip

available = platform.machine() == "x86_64" and shutil.which("g++") is not None
backwards = False  # the order in which blocks, warps and lanes run: a test turns it round


class RawModule:
    """As CuPy's, of code whose kernels are ``extern "C"``."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), **ignored: object) -> None:
        self.code, self.options = code, options

    def compile(self) -> None:
        self.library, self.signatures = _compiled(self.code, self.options)

    def get_function(self, name: str) -> Function:
        self.compile()
        return Function(name, self.signatures[name], getattr(self.library, "emulated_" + name))


class Function:
    def __init__(self, name: str, types: list[str], entry: ctypes._CFuncPtr) -> None:
        self.name, self.types, self.entry = name, types, entry
        entry.restype = ctypes.c_char_p

    def __call__(self, grid: tuple, block: tuple, args: tuple, shared_mem: int = 0) -> None:
        if len(args) != len(self.types):
            raise TypeError(f"{self.name} takes {len(self.types)} arguments, got {len(args)}")
        sides = zip([*grid, 1, 1], (2**31 - 1, 65535, 65535))
        fits = all(0 < side <= most for side, most in sides)
        if not 0 < numpy.prod(block) <= 1024 or not fits or shared_mem:
            raise ValueError(f"{self.name}: impossible {grid=}, {block=}, {shared_mem=}")
        if any(hasattr(getattr(a, "data", None), "ptr") for a in args):
            from cupy.array import run  # the stand-in, whose streams may capture the call

            return run(self._launch, grid, block, *args)
        self._launch(grid, block, *args)

    def _launch(self, grid: tuple, block: tuple, *args: object) -> None:
        held = [_held(a, t, self.name) for a, t in zip(args, self.types)]
        pointers = (ctypes.c_void_p * len(held))(*[h.ctypes.data for h in held])
        sizes = [*grid, 1, 1][:3] + [*block, 1, 1][:3]
        sizes = (ctypes.c_uint * 6)(*map(int, sizes))
        spans = (ctypes.c_size_t * len(args))(*[getattr(a, "nbytes", 0) for a in args])
        flush = any(t.endswith("float*") for t in self.types)
        error = self.entry(sizes, ctypes.c_int(backwards), ctypes.c_int(flush), pointers, spans)
        if error:
            raise RuntimeError(f"{self.name}: {error.decode()}")


def _held(value: object, declared: str, kernel: str) -> numpy.ndarray:
    """A value of the declared type in memory: of an array its address."""
    pointer = declared.endswith("*")
    dtype = numpy.dtype(TYPES[re.sub(r"\bconst\b|\*", "", declared).strip()])
    if type(value) in (bool, int, float) or isinstance(value, numpy.generic):
        # of Python's numbers CuPy makes int64 and float64, too
        given = numpy.asarray(value)
    elif pointer:
        if value.dtype != dtype:
            raise TypeError(f"{kernel}: {value.dtype} for {declared}")
        return numpy.asarray(value.ctypes.data, "uint64")
    else:
        raise TypeError(f"{kernel}: {type(value).__name__} for {declared}")
    if pointer:
        if given.dtype.kind == "i" and given == 0:
            return numpy.asarray(0, "uint64")
    elif given.dtype == dtype:
        return given
    raise TypeError(f"{kernel}: {given.dtype} {given} for {declared}")


@functools.cache
def _compiled(code: str, options: tuple[str, ...]) -> tuple[ctypes.CDLL, dict[str, list[str]]]:
    flags = [o for o in options if o.startswith(("-D", "-std"))]
    front = ["-x", "c++", *flags, "-w"]
    text = _run(
        ["g++", "-E", "-P", *front, "-D__global__=emulated_kernel", "-include", str(HEADER), "-"],
        code,
    )
    signatures, wrappers = {}, []
    for name, parameters in SIGNATURE.findall(text):
        parameters = parameters.replace("__restrict__", "").replace("*", "* ")
        declared = [p for p in parameters.split(",") if p.strip()]
        types = [re.sub(r"\s+\*", "*", p.rsplit(None, 1)[0].strip()) for p in declared]
        signatures[name] = types
        args = ", ".join(f"*(({t}*)args[{i}])" for i, t in enumerate(types))
        arrays = ", ".join(
            f"{{*(char**)args[{i}], bytes[{i}]}}" for i, t in enumerate(types) if t.endswith("*")
        )
        wrappers.append(
            f'extern "C" const char* emulated_{name}'
            "(unsigned* n, int backwards, int flush, void** args, size_t* bytes) {"
            f"emulator::arrays = {{{arrays}}};"
            "return emulator::launch({n[0], n[1], n[2]}, {n[3], n[4], n[5]}, backwards, flush,"
            f"[=] {{ {name}({args}); }}); }}"
        )
    program = "\n".join(["#define emulated_kernel", text, *wrappers])
    folder = Path(tempfile.gettempdir()) / f"minae-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / (hashlib.sha256(program.encode()).hexdigest() + ".so")
    if not library.exists():
        part = library.with_suffix(f".{os.getpid()}")
        _run(
            ["g++", "-O1", "-shared", "-fPIC", "-ffp-contract=off", *front, "-", "-o", str(part)],
            program,
        )
        part.replace(library)
    return ctypes.CDLL(str(library)), signatures


def _run(command: list[str], text: str) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
