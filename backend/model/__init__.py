"""The delivery protocol as an explicit-state model: documentation that runs.

    python -m model                     the bounds of `make model`: "holds", or the shortest counterexample
    python -m model --without settle    the same with one guard taken out
    python -m model --without all       each guard in turn, a table
    python -m model --beyond all        what no rule closes, each with its counterexample

Read in this order: `state` (what is true at one moment), `lane` (step, finalize, take over, sweep), `evidence` (echo,
acks, resolver), `person` (cancel, edit, release, replay), `provider` (what the outside may do), `check` (what must
always hold, and the search), `worlds` (how much is looked at). Functions bear the names of `apps.chat.delivery`;
docs/protocol.md lists them side by side.
"""
