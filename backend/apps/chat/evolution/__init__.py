"""What this project knows about Evolution API 2.3.6, and the only code that talks to it.

Everything but `client` is pure: `jids` (who), `fingerprint` (what was said), `outcomes` (what an answer
means), `events` (webhook JSON to dataclasses), `queries` (bodies and answers of the calls that do not send).
Nothing here imports Django or the rest of `apps`.
"""
