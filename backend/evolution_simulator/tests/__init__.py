"""Tests of the simulator: captures replayed against it, and its own promises."""
