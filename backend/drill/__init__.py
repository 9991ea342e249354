"""Drills: the whole system on spare ports, a seeded load, a fault from outside, and the oracle's verdict.

    python manage.py chat_drill --list
    python manage.py chat_drill --fault flushall --seed 7

Development code, like `testing`: the product never imports it, and it imports nothing of the product. What it knows of
the system it learns as a deployment's operator would: over HTTP, in the database, in Redis, from the accept log.

    oracle      the verdict: what the API accepted against what WhatsApp got and what the rows say
    world       servers, tenants, workers          load      seeded messages through HTTP
    database    a private SQLite or PostgreSQL     proxy     a TCP proxy that misbehaves on command
    browser     follows a team's events through broken sockets
    scenario    the registry; what a scenario may use (`Drill`)
    scenarios   one function per fault
    runner      runs some, one after the other     report    tables, JSON
"""
