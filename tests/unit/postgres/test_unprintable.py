"""The row that COPY cannot print is found by halves, not by reading row by row."""

import re

import pytest

from backup_playbook.core.errors import ProcessFailedError
from backup_playbook.engines.postgres.unprintable import find_row
