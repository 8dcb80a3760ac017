"""For all tests: examples drawn by Hypothesis may take their time, as machines under load do; waiting threads sleep."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before anything loads OpenMP, as the commands do

settings.register_profile("payrescue", deadline=None)
settings.load_profile("payrescue")
