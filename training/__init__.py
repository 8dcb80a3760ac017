"""Learns models from attempts, and proves them. MLflow lives here."""
