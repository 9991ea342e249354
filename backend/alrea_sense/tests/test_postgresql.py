"""A connection that the server has ended is replaced before anybody notices."""

from __future__ import annotations

import psycopg
import pytest
from django.db import OperationalError, connection, transaction

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="is about PostgreSQL"),
]


def end_session() -> None:
    """End our session from outside, and wait until the server has said so."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    parameters = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{name: parameters[name] for name in names if name in parameters}) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def test_an_ended_session_costs_no_query() -> None:
    end_session()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_transaction_begins_on_a_living_session() -> None:
    end_session()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_transaction_under_way_fails_rather_than_going_on_elsewhere() -> None:
    with pytest.raises(OperationalError), transaction.atomic():
        end_session()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
