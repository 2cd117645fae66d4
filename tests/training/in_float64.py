"""The command line, all in float64: two trainings that ought to be equal then are, however long they are.

Adversarial training is chaotic: what float32 rounds off is a different model after fifty steps, whoever sums it up.
"""

import torch
from lightning_fabric.plugins.precision.double import DoublePrecision

from vcpipe.cli import main
from vcpipe.training import machine
from vcpipe.vocoders import task


def build(cfg, device, build=task.build):
    state = build(cfg, device)
    for loss in (state.mel, state.stft, state.judging):
        loss.double()
    return state


if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    machine._precision = lambda settings, device: DoublePrecision()
    task.build = build
    main()
