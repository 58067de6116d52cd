"""Former place of names that callers above the engines still use."""

from backup_playbook.core.details import data_bytes as data_bytes
from backup_playbook.core.details import shares_contents as shares_contents
from backup_playbook.core.details import shows_until as shows_until
from backup_playbook.core.words import counted as counted
