"""Answers checkout. BentoML lives here."""
