"""Progress, sizes and times in words, for people."""

from __future__ import annotations

from datetime import timedelta

_UNITS = ((1 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


def human_bytes(size: float) -> str:
    """Size such as `69 MB` or `1.3 GB`; binary multiples, as Postgres and `ls -h` count."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}" if size < 10 * unit else f"{size / unit:.0f} {name}"
    return f"{int(size)} B"


def human_seconds(seconds: float) -> str:
    """Duration such as `8 s`, `4 min 05 s` or `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def human_age(age: timedelta) -> str:
    """Age such as `35 min 10 s`, `5 h 02 min` or `3 days 4 h`."""
    if age < timedelta(days=2):
        return human_seconds(age.total_seconds())
    hours = int(age.total_seconds()) // 3600
    return f"{hours // 24} days {hours % 24} h"


def progress_line(done: int, total: int, seconds: float, passed: int) -> str:
    """Line for the log of a task.

    `done` of `total` bytes of the source (estimated) after `seconds`, in which `passed` bytes streamed.
    """
    share = min(done / total, 1.0) if total else 1.0
    rate = passed / seconds if seconds > 0 else 0.0
    left = f"about {human_seconds(seconds / share - seconds)} left" if share > 0.01 else "time left not known yet"
    return f"{human_bytes(done)} of about {human_bytes(total)} ({share:.0%}), {human_bytes(rate)}/s, {left}"
