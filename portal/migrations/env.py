"""Alembic's environment: runs on the connection it is given (see portal/installation.py)."""

from alembic import context

from portal.models import Base

connection = context.config.attributes["connection"]
driver = connection.connection.dbapi_connection
is_sqlite = connection.dialect.name == "sqlite"
if is_sqlite:  # it changes a column by making the table anew, which must not count as deleting what refers to it
    driver.execute("PRAGMA foreign_keys=OFF")
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=is_sqlite,
    compare_type=True,
)
try:
    with context.begin_transaction():
        context.run_migrations()
        if is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
            raise RuntimeError("a migration left a row that refers to nothing")
    connection.commit()
finally:
    if is_sqlite:
        connection.rollback()
        driver.execute("PRAGMA foreign_keys=ON")
