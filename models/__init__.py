"""What we think happened, and what to do next. Code, never weights; no MLflow, no HTTP."""
