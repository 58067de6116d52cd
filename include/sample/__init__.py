"""The sample application: a shop with a database, reviews and uploaded files worth protecting.

It knows nothing of backups. The demo, the tests and the benchmarks back it up, damage it and bring it back; `check` is
what the application's own integration tests would be.
"""

from include.sample.checks import CheckResult, check
from include.sample.generate import SampleError, load, load_huge

__all__ = ["CheckResult", "SampleError", "check", "load", "load_huge"]
