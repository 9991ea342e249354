"""Django's PostgreSQL, with connections that last and are looked at before each use."""
