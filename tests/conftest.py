"""For all tests: examples drawn by Hypothesis may take their time, as machines under load do."""

from hypothesis import settings

settings.register_profile("payrescue", deadline=None)
settings.load_profile("payrescue")
