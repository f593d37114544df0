"""A record to vary, as for the keeper's own tests."""

from __future__ import annotations

from tests.unit.keeper.conftest import make_record as make_record
