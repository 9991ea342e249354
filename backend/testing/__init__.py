"""Servers and processes for development and tests; nothing in `apps` imports it."""
