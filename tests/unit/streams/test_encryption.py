"""gpg as streams, with the real gpg: what it writes opens with stock tools, and nothing of a key stays behind."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backup_playbook.core.errors import EncryptionError, VerificationError
from backup_playbook.streams import encryption, processes
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.encryption import Encryption, Keyring

PASSPHRASE = "correct horse $(id) 'battery' ünïcode"
CONTENT = os.urandom(300_000) + bytes(3_000_000)


class Keys:
    """A person's own gpg home, as stock gpg makes it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def gpg(self, *words: str, stdin: bytes = b"") -> bytes:
        argv = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", "--trust-model", "always", *words]
        return subprocess.run(argv, input=stdin, capture_output=True, check=True).stdout

    def make(self, name: str, *, usage: str = "default", expires: str = "never", passphrase: str = "") -> None:
        secret = ("--pinentry-mode", "loopback", "--passphrase", passphrase)
        self.gpg(*secret, "--quick-generate-key", name, "future-default", usage, expires)

    def public(self, *names: str) -> bytes:
        return self.gpg("--armor", "--export", *names)

    def private(self, name: str, passphrase: str = "") -> bytes:
        secret = ("--pinentry-mode", "loopback", "--passphrase", passphrase)
        return self.gpg(*secret, "--armor", "--export-secret-keys", name)


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    with tempfile.TemporaryDirectory(prefix="keys-", dir="/tmp") as home:
        made = Keys(Path(home))
        made.make("backup@example.org")
        made.make("second@example.org")
        made.make("locked@example.org", passphrase="of the key")
        made.make("signer@example.org", usage="sign")
        # made at a time at which it was valid for a day
        made.gpg("--faked-system-time", "20200101T000000", "--pinentry-mode", "loopback", "--passphrase", "",
                 "--quick-generate-key", "expired@example.org", "future-default", "default", "1d")  # fmt: skip
        yield made
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def with_passphrase() -> bytes:
    """CONTENT, compressed and encrypted."""
    return encrypted(Encryption(passphrase=PASSPHRASE))


@pytest.fixture(autouse=True)
def homes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where keyrings live; no gpg home and no agent outlives its keyring."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:  # short: gpg-agent's socket lies in it
        monkeypatch.setattr(encryption, "_HOMES", Path(directory))
        yield Path(directory)
        assert list(Path(directory).iterdir()) == []
        assert not [line for line in _command_lines() if directory in line]


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def encrypted(encryption: Encryption, content: bytes = CONTENT) -> bytes:
    with Keyring(encryption) as keyring:
        return b"".join(Codec(keyring=keyring).encode([content]))


def decrypted(encryption: Encryption, stored: bytes) -> bytes:
    with Keyring(encryption) as keyring:
        return b"".join(Codec(keyring=keyring).decode([stored], "t.zst.gpg"))


def to_recipients(keys: Keys, *names: str) -> Encryption:
    return Encryption(recipients=names, public_keys=keys.public(*names))


def test_roundtrip_with_a_passphrase() -> None:
    encryption = Encryption(passphrase=PASSPHRASE)
    stored = encrypted(encryption)
    assert decrypted(encryption, stored) == CONTENT
    assert encryption.record.method == "gpg_passphrase"


def test_roundtrip_to_several_recipients(keys: Keys) -> None:
    stored = encrypted(to_recipients(keys, "backup@example.org", "second@example.org"))
    for name in ("backup@example.org", "second@example.org"):
        assert decrypted(Encryption(recipients=(name,), private_key=keys.private(name)), stored) == CONTENT


def test_private_key_with_a_passphrase_of_its_own(keys: Keys) -> None:
    name = "locked@example.org"
    stored = encrypted(to_recipients(keys, name))
    private = keys.private(name, "of the key")
    assert decrypted(Encryption(recipients=(name,), private_key=private, passphrase="of the key"), stored) == CONTENT
    with pytest.raises(EncryptionError, match="cannot be decrypted"):
        decrypted(Encryption(recipients=(name,), private_key=private, passphrase="another"), stored)


def test_stock_gpg_and_zstd_open_it(keys: Keys, tmp_path: Path) -> None:
    stored = tmp_path / "t.zst.gpg"
    stored.write_bytes(encrypted(to_recipients(keys, "backup@example.org")))
    script = f"set -o pipefail; gpg --homedir {keys.home} --batch --quiet --decrypt {stored} | zstd -d -c"
    assert subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout == CONTENT


def test_stock_gpg_opens_what_a_passphrase_closed(tmp_path: Path) -> None:
    stored = tmp_path / "t.zst.gpg"
    stored.write_bytes(encrypted(Encryption(passphrase=PASSPHRASE)))
    gpg = f"gpg --homedir {tmp_path} --batch --quiet --pinentry-mode loopback --passphrase-fd 0 --decrypt {stored}"
    answer = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {gpg} | zstd -d -c"],
        input=PASSPHRASE.encode(),
        capture_output=True,
        check=True,
    )
    assert answer.stdout == CONTENT


def test_nothing_of_the_content_shows() -> None:
    assert b"a recognisable row" not in encrypted(Encryption(passphrase="x"), b"a recognisable row\n" * 100)


def test_empty_stream() -> None:
    encryption = Encryption(passphrase=PASSPHRASE)
    assert decrypted(encryption, encrypted(encryption, b"")) == b""


def test_several_streams_of_one_keyring_at_once(with_passphrase: bytes) -> None:
    with Keyring(Encryption(passphrase=PASSPHRASE)) as keyring:
        streams = [keyring.decrypt([with_passphrase], "t") for _ in range(3)]
        firsts = [next(stream) for stream in streams]
        lengths = [len(first) + sum(map(len, rest)) for first, rest in zip(firsts, streams, strict=True)]
    assert len(set(lengths)) == 1


def test_wrong_passphrase() -> None:
    stored = encrypted(Encryption(passphrase="right"))
    with pytest.raises(EncryptionError, match=r"t\.zst\.gpg cannot be decrypted.*Bad session key") as caught:
        decrypted(Encryption(passphrase="wrong"), stored)
    assert "Airflow connection" in caught.value.remedy


def test_wrong_key(keys: Keys) -> None:
    stored = encrypted(to_recipients(keys, "backup@example.org"))
    wrong = Encryption(recipients=("second@example.org",), private_key=keys.private("second@example.org"))
    with pytest.raises(EncryptionError, match="No secret key"):
        decrypted(wrong, stored)


def test_no_key_says_where_it_can_be_read(keys: Keys) -> None:
    encryption = to_recipients(keys, "backup@example.org")
    assert not encryption.can_decrypt
    with pytest.raises(EncryptionError, match="no key that opens it") as caught:
        decrypted(encryption, encrypted(encryption))
    assert "queue" in caught.value.remedy


def test_public_key_is_no_private_key(keys: Keys) -> None:
    name = "backup@example.org"
    stored = encrypted(to_recipients(keys, name))
    with pytest.raises(EncryptionError, match="No secret key"):
        decrypted(Encryption(recipients=(name,), private_key=keys.public(name)), stored)


@pytest.mark.parametrize("name", ["expired@example.org", "signer@example.org", "nobody@example.org"])
def test_unusable_recipient_is_found_before_any_data_moves(keys: Keys, name: str) -> None:
    public = keys.public("backup@example.org", "expired@example.org", "signer@example.org")
    with pytest.raises(EncryptionError, match=f"Nothing can be encrypted for the recipient '{name}'"):
        encrypted(Encryption(recipients=("backup@example.org", name), public_keys=public))


def test_keys_that_are_none() -> None:
    with pytest.raises(EncryptionError, match="public key cannot be imported"):
        encrypted(Encryption(recipients=("a@example.org",), public_keys=b"-----BEGIN nothing"))


@pytest.mark.parametrize("kwargs", [{}, {"passphrase": ""}, {"passphrase": "two\nlines"}])
def test_settings_that_would_not_protect(kwargs: dict[str, str]) -> None:
    with pytest.raises(EncryptionError):
        Encryption(**kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0.01, 0.5, 0.9999])
def test_one_flipped_bit(with_passphrase: bytes, place: float) -> None:
    stored = bytearray(with_passphrase)
    stored[int(len(stored) * place)] ^= 4
    # zstd may stumble over the changed content before gpg comes to its end and knows
    with pytest.raises((EncryptionError, VerificationError), match=r"t\.zst\.gpg"):
        decrypted(Encryption(passphrase=PASSPHRASE), bytes(stored))


def test_flipped_bit_behind_the_zstd_frame_is_found_by_gpg(with_passphrase: bytes) -> None:
    stored = bytearray(with_passphrase)
    stored[-3] ^= 4
    with pytest.raises(EncryptionError, match="cannot be decrypted"):
        decrypted(Encryption(passphrase=PASSPHRASE), bytes(stored))


@pytest.mark.parametrize("kept", [0, 10, 0.5, -1, -22])
def test_truncated(with_passphrase: bytes, kept: float) -> None:
    count = int(len(with_passphrase) * kept) if 0 < kept < 1 else int(kept)
    with pytest.raises((EncryptionError, VerificationError), match=r"t\.zst\.gpg"):
        decrypted(Encryption(passphrase=PASSPHRASE), with_passphrase[:count])


def test_plain_data_is_not_accepted_as_encrypted() -> None:
    with pytest.raises(EncryptionError):
        decrypted(Encryption(passphrase=PASSPHRASE), b"".join(Codec().encode([CONTENT])))


def test_secrets_are_in_no_argument_no_file_and_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    encryption = Encryption(passphrase="SECRET-PASSPHRASE")
    seen: list[str] = []
    with Keyring(encryption) as keyring:
        stream = keyring.encrypt(iter([CONTENT] * 20))
        for _ in stream:
            seen += _command_lines()
            break
        files = [path for path in keyring._home.rglob("*") if path.is_file()]
        assert not any(b"SECRET-PASSPHRASE" in path.read_bytes() for path in files)
        assert (keyring._home.stat().st_mode & 0o777) == 0o700
        stream.close()
    assert seen
    assert not any("SECRET" in line for line in seen)
    assert "SECRET" not in repr(encryption)


def test_failing_source_is_reported_and_not_what_gpg_made_of_it() -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise OSError("the database went away")

    with Keyring(Encryption(passphrase=PASSPHRASE)) as keyring, pytest.raises(OSError, match="the database went away"):
        list(keyring.encrypt(broken()))


def test_missing_gpg_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(processes.PlaybookError, match="gpg is not installed") as caught:
        encrypted(Encryption(passphrase=PASSPHRASE))
    assert "apt-get install gnupg" in caught.value.remedy


def test_keys_that_a_killed_worker_left_are_removed_by_the_next_one(
    monkeypatch: pytest.MonkeyPatch, homes: Path
) -> None:
    monkeypatch.setattr(encryption, "_ABANDONED_SECONDS", -1)
    abandoned = homes / f"{encryption._PREFIX}abandoned"
    abandoned.mkdir()
    (abandoned / "private.key").write_text("secret")
    with Keyring(Encryption(passphrase="one")) as in_use, Keyring(Encryption(passphrase="two")):
        assert not abandoned.exists()
        assert list(in_use.encrypt([b"still works"]))
