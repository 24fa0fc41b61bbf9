"""Postgres behind the ports: tables, the one `append`, read queries, migrations, and an in-memory store for tests."""
