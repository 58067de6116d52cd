"""The ids of the DAGs that texts and commands name."""

from __future__ import annotations

ROLLBACK = "rollback_promotion"
RELEASE = "release_quarantine"
