"""Every CUDA source compiles for the cards that minae is meant for."""

import shutil
import subprocess

import pytest

from minae.kernels import cuda

SOURCES = sorted(path.stem for path in cuda.FOLDER.glob("*.cu"))


@pytest.mark.parametrize("card", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", SOURCES)
def test_nvcc_compiles(name, card, tmp_path):
    if shutil.which("nvcc") is None:
        pytest.skip("there is no nvcc")
    file = tmp_path / f"{name}.cu"
    file.write_text(cuda.source(name))
    command = ["nvcc", "-std=c++17", f"-arch={card}", "-cubin", "-o", str(tmp_path / "out"), file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
