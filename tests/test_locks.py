"""Locks between real processes, and what others may have put in their place."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from kamerton_ray.machine.locks import LockedError, locked, own_folder

HOLDER = """
import sys, time
from pathlib import Path
from kamerton_ray.machine.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock `tmp_path / "lock"`."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_is_one_processs_and_its_file_goes_with_it(tmp_path):
    path = tmp_path / "lock"
    with locked(path):
        assert path.exists()
        with pytest.raises(LockedError, match="another process holds"), locked(path):
            raise AssertionError("both hold it")
    assert not path.exists()
    with locked(path):
        assert path.exists()


def test_a_lock_of_another_process_is_waited_for_if_that_is_wanted(tmp_path, holder):
    with pytest.raises(LockedError), locked(tmp_path / "lock"):
        raise AssertionError("both hold it")
    waited = []

    def wait():
        waited.append(holder.pid)
        holder.send_signal(signal.SIGKILL)  # the kernel frees it

    with locked(tmp_path / "lock", wait=wait):
        assert waited == [holder.pid]
    assert os.listdir(tmp_path) == []


def test_the_one_that_waits_gets_a_lock_that_others_see(tmp_path):
    path = tmp_path / "lock"
    with locked(path):
        code = (
            "import sys; from pathlib import Path; from kamerton_ray.machine.locks import locked\n"
        )
        code += "with locked(Path(sys.argv[1]), wait=lambda: print('waits', flush=True)):\n"
        code += "    print(Path(sys.argv[1]).exists(), flush=True)\n"
        other = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert other.stdout.readline() == "waits\n"
    # The file that it waited for is gone: it has made a new one, or others would not see it.
    assert "True\n" in other.communicate(timeout=60)[0]
    assert not path.exists()


def test_the_users_folder_is_the_users_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert own_folder().stat().st_mode & 0o777 == 0o700
    assert own_folder() == own_folder()
    folder = own_folder()
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="alone can open"):
        own_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="alone can open"):
        own_folder()


def test_a_pipe_in_a_locks_place_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "lock")
    with locked(tmp_path / "lock"):
        assert (tmp_path / "lock").exists()
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / "lock"):
        raise AssertionError("it followed a link")
    assert not (tmp_path / "elsewhere").exists()
