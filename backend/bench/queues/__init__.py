"""The yardstick and the peers: each a program that runs alone, in an environment that holds little but its library.

<name>.py fill '{"url": …, "jobs": 1000, "wait": 0}'    enqueues, prints {"seconds"}
<name>.py work '{"url": …, "jobs": 1000, "wait": 0}'    works that many off, prints {"rate", "cpu"}
"""
