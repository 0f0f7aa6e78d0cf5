"""Alembic's folder: how the tables of the index in PostgreSQL came to be, one step a file."""
