"""Secrets that nobody set: made on first use and kept in the data folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

RAY_TOKEN = "ray_token"  # file of the data folder
MIN_SECRET_BYTES = 32  # HS256 wants a key at least as long as its hash


def local_secret(data_dir: Path, name: str) -> str:
    """The secret kept in `data_dir/name`, made on first use and readable by its owner alone.

    Two processes that ask at once get the same one. Raises `OSError` when the folder cannot be written.
    """
    path = data_dir / name
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        draft = data_dir / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(MIN_SECRET_BYTES))
            # A link either puts the whole secret in place or finds that someone was faster.
            if not path.exists():
                os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def ray_token_file(data_dir: Path) -> Path:
    """The file with the token of this folder's own Ray cluster, made on first use. `OSError` as for `local_secret`."""
    local_secret(data_dir, RAY_TOKEN)
    return data_dir / RAY_TOKEN
