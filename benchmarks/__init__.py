"""Measurements; each module says what it measures and how it is run."""

import os

# Before torch loads: as the stages set it, OpenMP's threads do not spin while they wait; and these are about the CPU.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
