"""Stands in for a package that BentoML does not install, so that it runs as it comes."""

raise ImportError("left out: BentoML comes without it")
