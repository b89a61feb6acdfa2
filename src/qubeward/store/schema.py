"""The tables of the store, as rows: from them come the SQL, the writes and the loading."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

#: Raised with every change of the tables below; a newer store is refused, never guessed at.
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `of_qube`: its first key is a qube's uuid, and its rows go with the qube."""

    name: str
    key: tuple[str, ...]
    values: tuple[str, ...]
    of_qube: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Return all columns, keys first."""
        return (*self.key, *self.values)

    def create(self) -> str:
        """Return the SQL that makes the table."""
        parts = [f"{column} NOT NULL" for column in self.columns]
        if self.of_qube:
            parts[0] += " REFERENCES qube (uuid) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"
        keys = ", ".join(self.key)
        return f"CREATE TABLE {self.name} ({', '.join(parts)}, PRIMARY KEY ({keys}))"

    def put(self) -> str:
        """Return the SQL that writes a row. A row that was there keeps its place in the order."""
        marks = ", ".join("?" * len(self.columns))
        keys = ", ".join(self.key)
        sets = ", ".join(f"{c} = excluded.{c}" for c in self.values)
        action = f"UPDATE SET {sets}" if sets else "NOTHING"
        return f"INSERT INTO {self.name} VALUES ({marks}) ON CONFLICT ({keys}) DO {action}"  # noqa: S608

    def drop(self) -> str:
        """Return the SQL that deletes a row by its key."""
        where = " AND ".join(f"{column} = ?" for column in self.key)
        return f"DELETE FROM {self.name} WHERE {where}"  # noqa: S608  # names are ours

    def select(self) -> str:
        """Return the SQL that reads all rows, oldest first."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name} ORDER BY rowid"  # noqa: S608


TABLES: Final[Mapping[str, Table]] = MappingProxyType(
    {
        table.name: table
        for table in (
            Table("qube", ("uuid",), ("name", "class", "qid")),
            Table("property", ("uuid", "name"), ("value",), of_qube=True),
            Table("feature", ("uuid", "name"), ("value",), of_qube=True),
            Table("tag", ("uuid", "tag"), (), of_qube=True),
            Table("notes", ("uuid",), ("notes",), of_qube=True),
            Table("volume", ("uuid", "name"), ("configuration",), of_qube=True),
            Table("running", ("uuid",), ("start",), of_qube=True),
            Table("label", ("name",), ("number", "color")),
            Table("pool", ("name",), ("driver", "options")),
            Table("system_property", ("name",), ("value",)),
            Table("counter", ("name",), ("value",)),
            Table("journal", ("id",), ("plan", "about")),
        )
    }
)
