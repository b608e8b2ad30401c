"""Every CUDA source compiles for the cards that minae is meant for; where one does not, CuPy is
enough."""

import ctypes
import importlib.metadata
import shutil
import subprocess

import pytest

from minae import backend, kernels
from minae.kernels import cuda, reference

SOURCES = {(path.stem, ()) for path in cuda.FOLDER.glob("*.cu")}
SOURCES |= {("search", (f"-DPAIRS={pairs}",)) for pairs in (2, 8)}
TILE = ("-DWIDE=1", "-DBM=64", "-DBN=64", "-DWM=32", "-DWN=32")
SOURCES |= {
    ("convolution", (f"-DKIND={kind}", f"-DREAL={real}", f"-DPRODUCTS={products}", *TILE))
    for kind, real, products in (
        (0, "float", 1), (1, "float", 3), (2, "float", 3), (2, "double", 0),
    )
}  # fmt: skip

each_source = pytest.mark.parametrize(
    "name, options", sorted(SOURCES), ids=["".join([n, *o]) for n, o in sorted(SOURCES)]
)
each_card = pytest.mark.parametrize("card", ["sm_80", "sm_90"])


@each_card
@each_source
def test_nvcc_compiles(name, options, card, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("there is no nvcc")
    file = tmp_path / f"{name}.cu"
    file.write_text(cuda.source(name))
    out = ["-cubin", "-o", str(tmp_path / "out"), str(file)]
    command = ["nvcc", "-std=c++17", "-ftz=true", f"-arch={card}", "-Xptxas", "-v", *options, *out]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    spilled = [line for line in done.stderr.splitlines() if "spill" in line]
    assert spilled and all(" 0 bytes spill stores" in line for line in spilled), done.stderr


@pytest.fixture(scope="module")
def nvrtc():
    """NVRTC's library, from its package."""
    try:
        files = importlib.metadata.files("nvidia-cuda-nvrtc") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("NVRTC is not installed")
    for file in files:
        if file.name.startswith("libnvrtc.so"):
            return ctypes.CDLL(str(file.locate()))
    pytest.skip("NVRTC comes without a library for this system")


@each_source
def test_nvrtc_compiles(nvrtc, name, options, card="sm_90"):
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    text = cuda.source(name).encode()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, b"x.cu", 0, None, None) == 0
    given = [o.encode() for o in ("-std=c++17", "-ftz=true", f"-arch={card}", *options)]
    status = nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    assert status == 0, log.value.decode()


# --- On a card for which it does not compile -----------------------------------------------------


class Refusing:
    """A RawModule whose compiler finds nothing right."""

    def __init__(self, **options):
        pass

    def compile(self):
        raise RuntimeError("nvrtc: error: invalid value for --gpu-architecture")


@pytest.fixture
def old_card(monkeypatch):
    monkeypatch.setattr(cuda, "RawModule", Refusing)
    monkeypatch.setattr(backend.xp, "RawModule", Refusing, raising=False)
    monkeypatch.setattr(backend, "name", "cupy")
    monkeypatch.setattr(kernels, "_fallen", [])
    cuda.module.cache_clear()
    kernels.form.cache_clear()
    yield
    cuda.module.cache_clear()
    kernels.form.cache_clear()


def test_a_kernel_that_does_not_compile_falls_back_with_one_warning(old_card, monkeypatch, array):
    monkeypatch.setenv("MINAE_KERNELS", "auto")
    x = array([[-1.0, 2.0]], "float32")
    with pytest.warns(RuntimeWarning, match=r"CuPy alone, more slowly: .*gpu-architecture") as said:
        found = kernels.relu(x)
        kernels.scatter_sum(x, array([0]), 1)
        kernels.relu(x)
    assert (found == reference.relu(x)).all() and len(said) == 1


def test_or_raises_where_it_was_asked_for(old_card, monkeypatch, array):
    monkeypatch.setenv("MINAE_KERNELS", "fast")
    with pytest.raises(kernels.Unavailable, match=r"updates.cu does not compile here"):
        kernels.relu(array([[-1.0, 2.0]], "float32"))
