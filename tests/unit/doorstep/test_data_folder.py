"""A data folder is closed to other users of the machine, and one server's at a time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from doorstep.data_folder import (
    AlreadyRunning,
    FolderLock,
    FolderOpen,
    append_private,
    close_folder,
    ray_folder,
    write_private,
)

SECRETS = ("config.json", "ray_address", "ray_token", "postgres.log", "services.json", "lock")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """A folder as an older version left it."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o755)
    for name in SECRETS:
        (folder / name).write_text("secret")
        (folder / name).chmod(0o644)
    (folder / "redis").mkdir()
    (folder / "redis").chmod(0o750)
    return folder


def test_what_was_open_is_closed(loose: Path) -> None:
    close_folder(loose, strict=False)
    assert mode(loose) & 0o076 == 0
    assert [mode(loose / name) for name in SECRETS] == [0o600] * len(SECRETS)
    assert mode(loose / "redis") == 0o700
    close_folder(loose, strict=True)


@pytest.mark.parametrize("name", [*SECRETS, "redis", "."])
def test_production_refuses_each_of_them_in_one_line(loose: Path, name: str) -> None:
    close_folder(loose, strict=False)
    (loose / name).chmod(mode(loose / name) | 0o040)
    with pytest.raises(FolderOpen, match=r"is open to other users .*: chmod [67]0\d ") as caught:
        close_folder(loose, strict=True)
    assert str(loose / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_fresh_folder_is_closed_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        close_folder(tmp_path / "deep" / "data", strict=True)
        assert mode(tmp_path / "deep" / "data") == 0o700
        write_private(tmp_path / "address", "there")
        append_private(tmp_path / "log").close()
        FolderLock(tmp_path).take()
    finally:
        os.umask(before)
    assert {mode(tmp_path / name) for name in ("address", "log", "lock")} == {0o600}


def test_what_is_written_anew_is_not_as_open_as_before(tmp_path: Path) -> None:
    path = tmp_path / "address"
    path.write_text("old")
    path.chmod(0o666)
    write_private(path, "new")
    assert (mode(path), path.read_text()) == (0o600, "new")
    path.chmod(0o666)
    with append_private(path) as log:
        log.write(b"er")
    assert (mode(path), path.read_text()) == (0o600, "newer")


def test_one_at_a_time(tmp_path: Path) -> None:
    lock, other = FolderLock(tmp_path), FolderLock(tmp_path)
    assert not lock.held_by_another()
    lock.take()
    assert other.held_by_another()
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        other.take()
    lock.release()
    other.take()
    other.release()


def test_rays_folder_is_below_a_closed_one_and_its_sockets_fit(tmp_path: Path) -> None:
    for data_dir in (tmp_path, tmp_path / ("long" * 20)):
        data_dir.mkdir(exist_ok=True)
        folder = ray_folder(data_dir)
        assert ray_folder(data_dir) == folder
        assert mode(folder.parent) == 0o700
        # As Ray names them, which opens its own folder to everybody.
        socket = folder / "session_2026-11-30_18-23-48_889007_4194304" / "sockets" / "dash_MetricsHead"
        assert len(os.fsencode(socket)) < 104
    short, long = ray_folder(tmp_path / ("long" * 20)), ray_folder(tmp_path)
    assert short != long


def test_a_folder_of_somebody_else_is_not_used_for_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / ("long" * 20)
    data_dir.mkdir()
    ray_folder(data_dir)
    monkeypatch.setattr("doorstep.data_folder.os.geteuid", lambda: 12345)
    link = ray_folder_of(data_dir)
    link.symlink_to(tmp_path)
    try:
        with pytest.raises(FolderOpen, match="belongs to somebody else"):
            ray_folder(data_dir)
    finally:
        link.unlink()


def ray_folder_of(data_dir: Path) -> Path:
    """Where it would be for the user that the test pretends to be."""
    try:
        return ray_folder(data_dir).parent
    except FolderOpen as error:
        path = Path(str(error).split(" ", 1)[0])
        path.rmdir()
        return path
