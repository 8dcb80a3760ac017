"""What an attempt to pay is, and what is worth knowing about it. Pure: no MLflow, no BentoML, no HTTP."""
