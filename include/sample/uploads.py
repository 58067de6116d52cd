"""What the customers of the shop upload: a few hundred small files, some with names that break careless programs."""

import os
import random
from pathlib import Path

FIRST_DAY = 1_767_225_600  # 2026-01-01, in seconds since 1970
PICTURES = 300
HOSTILE = [
    " leading and trailing ",
    "-rf",
    "100%2F.txt",
    "a#b?c=d&e+f",
    'it\'s "quoted" `id` $(id).txt',
    "two\nlines.txt",
    "back\\slash\ttab.txt",
    "Müller & Söhne.pdf",
    "Mu\u0308ller & So\u0308hne.pdf",  # the same to the eye: decomposed, as another system writes it
    "日本語 🎉.txt",
    "x" * 200,
]


def write_uploads(directory: Path) -> int:
    """The same files each time, times included; those that exist are left alone. Returns how many there are."""
    chance = random.Random(1)
    files = {f"pictures/{number // 100}/{number:04}.jpg": chance.randrange(500, 20_000) for number in range(PICTURES)}
    files |= {f"invoices/2026-{month:02}/Rechnung {month:02} für Zoë.pdf": 2_000 for month in range(1, 13)}
    files |= {f"inbox/{name}": 100 for name in HOSTILE} | {"inbox/empty": 0, "inbox/resize.sh": 50}
    for number, (name, size) in enumerate(files.items()):
        file, content = directory / name, chance.randbytes(size)
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            os.utime(file, (FIRST_DAY + number * 3600,) * 2)
    (directory / "inbox/resize.sh").chmod(0o755)
    if not (latest := directory / "invoices/latest").is_symlink():
        latest.symlink_to("2026-12")
    return len(files)
