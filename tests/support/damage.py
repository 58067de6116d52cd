"""What disks and people do to stored objects."""

from pathlib import Path


def flip_a_bit(file: Path) -> None:
    """In the middle. `file` is where the S3 gateway keeps an object; what the gateway knows of the object stays."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
