"""Measurements; each module says what it measures and how it is run."""

import os

# As the stages set it, and before torch loads: OpenMP's threads do not spin while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
