"""Training takes no more memory the longer it lasts, and leaves the garbage collector nothing."""

import json
import os
import sys

import pytest
from processes import run

STEPS = 5000

# Every kind of layer. The collector is off: what is not freed by reference count stays.
PROGRAM = """
import gc, json, os, sys, time
import numpy as np
import minae
from minae import nn, optim, vq

minae.seed(0)
conv, norm, attend = nn.Conv2d(1, 4, 4, stride=4), nn.BatchNorm2d(4), nn.Linear(4, 12)
quantizer, back = vq.VectorQuantizerEMA(8, 4, revive=0.5), nn.ConvTranspose2d(4, 1, 4, stride=4)
modules = [conv, norm, attend, quantizer, back]
optimizer = optim.Adam([p for m in modules for p in m.parameters()], 1e-3)
images = minae.backend.asarray(np.random.default_rng(0).random((4, 8, 8, 1), dtype="float32"))

def step():
    h = norm(conv(images, relu=True)).reshape(4, 4, 4)
    h = h + minae.dropout(minae.attention(*minae.split(attend(h), 3, axis=-1)), 0.1)
    quantized = quantizer(h.reshape(4, 2, 2, 4))
    loss = minae.mse_loss(back(quantized.values), images) + quantized.loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

def resident():
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def settled():
    # Threads that had no turn yet, on a busy machine, take what still waits for them.
    threads = sys.modules.get("minae.kernels.threads")
    while threads and not threads._tasks.empty():
        time.sleep(0.001)

for _ in range(300):
    step()
gc.collect()
gc.disable()
sizes, objects = [], []
for number in range(STEPS):
    if number % 500 == 0:
        settled()
        sizes.append(resident())
        objects.append(sys.getallocatedblocks())
    step()
gc.set_debug(gc.DEBUG_SAVEALL)
gc.collect()
cycles = [repr(x)[:99] for x in gc.garbage]
print(json.dumps({"sizes": sizes, "objects": objects, "cycles": cycles}))
"""


@pytest.fixture(scope="module")
def lasting():
    """What a training of some thousand steps has measured."""
    program = PROGRAM.replace("STEPS", str(STEPS))
    return json.loads(run(program, MINAE_KERNELS=os.environ.get("MINAE_KERNELS")).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the resident size is read from Linux's /proc")
def test_the_resident_size_stays(lasting):
    sizes = lasting["sizes"]
    assert max(sizes) - sizes[0] < 200 * STEPS, sizes  # less than a small Tensor for each step


def test_no_step_leaves_an_object_behind(lasting):
    _, _, *objects = lasting["objects"]  # CPython's own free lists fill up at first
    assert objects[-1] - objects[0] < STEPS / 50, objects


def test_no_step_leaves_a_cycle(lasting):
    assert lasting["cycles"] == []
