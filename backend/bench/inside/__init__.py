"""Programs of the bench that run inside Django, each in a process of its own: `python -m bench.inside.<name>`."""
