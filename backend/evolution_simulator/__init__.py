"""A stand-in for Evolution API 2.3.6 used in development and tests.

It speaks Evolution's HTTP and webhook contract, keeps a log of every send it accepted (the oracle
of the reliability tests) and can be told, over HTTP, to fail in the ways the real server fails.
Nothing is durable: a restart forgets instances and messages, and pending webhook retries die with it.
"""

VERSION = "2.3.6"
