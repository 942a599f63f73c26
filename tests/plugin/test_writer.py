"""The writer of lines: in order, within its bound, and never torn, whatever the disk does."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ids.counters import Counters
from ids.errors import UsageError
from ids.events import Lines
from ids.plugin import writer
from ids.plugin.writer import LineWriter

BOUND = 1 << 18
LINE_BYTES = 1024


def lines(first: int, count: int = 1) -> list[Lines]:
    """Return numbered lines of a kilobyte each."""
    rows = [b"%d" % number for number in range(first, first + count)]
    return [Lines("flow", b"".join(row.rjust(LINE_BYTES - 1, b".") + b"\n" for row in rows), count)]


def numbers(data: bytes) -> list[int]:
    """Return the numbers of lines, each of which must be whole."""
    assert not data or data.endswith(b"\n")
    rows = data.splitlines()
    assert {len(row) for row in rows} <= {LINE_BYTES - 1}
    return [int(row.lstrip(b".")) for row in rows]


def soon(condition: Callable[[], bool]) -> bool:
    """Wait for a condition."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make the bound small; return it in lines."""
    monkeypatch.setattr(writer, "WAITING_BYTES", BOUND)
    return BOUND // LINE_BYTES


class Hanging:
    """A pipe that nobody reads until asked: a disk that hangs."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        """Return what is there now."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._reader, 1 << 20)
        return b""

    def read_all(self, done: Callable[[], bool]) -> bytes:
        """Read until something is done, and what is left then."""
        data = b""
        while not done():
            data += self.read()
        while more := self.read():
            data += more
        return data

    def break_(self) -> None:
        """Go away, as a reader that ends."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Hanging]:
    pipe = Hanging(tmp_path / "pipe")
    yield pipe
    pipe.break_()


def closing(writer_: LineWriter) -> threading.Thread:
    """Close a writer beside whatever the test does."""
    thread = threading.Thread(target=writer_.close)
    thread.start()
    return thread


def test_lines_are_appended_in_their_order(tmp_path: Path, counters: Counters) -> None:
    file = tmp_path / "new" / "eve.json"
    for start in (0, 600):
        out = LineWriter(str(file), "eve", counters, patient=True)
        for first in range(start, start + 600, 3):
            out.put(lines(first, 2) + lines(first + 2))
        out.close()
    assert numbers(file.read_bytes()) == list(range(1200))
    assert counters["eve.lost"] == 0


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path, counters: Counters) -> None:
    with pytest.raises(UsageError, match=r"eve\.path .* cannot be written: Is a directory"):
        LineWriter(str(tmp_path), "eve", counters, patient=True)


def test_a_pipe_that_nobody_reads_is_refused_instead_of_waiting(tmp_path: Path, counters: Counters) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe cannot be written: nobody reads this pipe; choose another path"):
        LineWriter(str(tmp_path / "pipe"), "eve", counters, patient=False)


def test_stdout_is_written_and_left_open(capfd: pytest.CaptureFixture[str], counters: Counters) -> None:
    out = LineWriter("-", "eve", counters, patient=True)
    out.put(lines(7))
    out.close()
    print("and more")
    assert capfd.readouterr().out == lines(7)[0].data.decode() + "and more\n"


def test_a_fork_lets_go_of_the_file_and_leaves_the_writing_to_its_parent(tmp_path: Path, counters: Counters) -> None:
    file = tmp_path / "eve.json"
    out = LineWriter(str(file), "eve", counters, patient=True)
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            out.close()
            os._exit(sum(Path(fd).exists() and Path(fd).samefile(file) for fd in Path("/proc/self/fd").iterdir()))
        os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    out.put(lines(1))
    out.close()
    assert numbers(file.read_bytes()) == [1]


def test_a_live_writer_loses_what_is_beyond_its_bound_and_counts_it(
    hanging: Hanging, counters: Counters, bound: int
) -> None:
    out = LineWriter(hanging.path, "eve", counters, patient=False)
    put = 4 * bound
    started = time.monotonic()
    for number in range(put):
        out.put(lines(number))
    assert time.monotonic() - started < 60, "nobody waited for the disk"
    lost = counters["eve.lost"]
    assert put - bound - 1 <= lost < put, "what waits is bounded"
    thread = closing(out)
    written = numbers(hanging.read_all(lambda: not thread.is_alive()))
    assert written == sorted(written)
    assert len(written) + counters["eve.lost"] == put
    assert counters["eve.lost"] == lost, "what waited was written when the disk was back"


def test_a_live_writer_goes_on_when_the_disk_does(hanging: Hanging, counters: Counters, bound: int) -> None:
    out = LineWriter(hanging.path, "eve", counters, patient=False)
    for number in range(2 * bound):
        out.put(lines(number))
    lost = counters["eve.lost"]
    assert lost > 0
    read = b""

    def caught_up() -> bool:
        nonlocal read
        read += hanging.read()
        return len(read) == (2 * bound - lost) * LINE_BYTES

    assert soon(caught_up)
    out.put(lines(999_999))
    thread = closing(out)
    assert numbers(hanging.read_all(lambda: not thread.is_alive())) == [999_999]
    assert counters["eve.lost"] == lost


def test_a_patient_writer_waits_for_the_disk(hanging: Hanging, counters: Counters, bound: int) -> None:
    out = LineWriter(hanging.path, "eve", counters, patient=True)
    put = 0

    def fill() -> None:
        nonlocal put
        for put in range(4 * bound):
            out.put(lines(put))
        out.close()

    thread = threading.Thread(target=fill)
    thread.start()
    assert soon(lambda: put >= bound)
    thread.join(0.2)
    assert thread.is_alive()
    assert put < 2 * bound, "it waits"
    assert numbers(hanging.read_all(lambda: not thread.is_alive())) == list(range(4 * bound))
    assert counters["eve.lost"] == 0


@pytest.mark.parametrize("patient", [True, False])
def test_a_reader_that_goes_away_costs_events_and_not_the_writer(
    hanging: Hanging, counters: Counters, bound: int, patient: bool
) -> None:
    """The pipe takes nothing back, but the thread goes on, and nobody waits for it in vain."""
    out = LineWriter(hanging.path, "eve", counters, patient=patient)
    out.put(lines(0, bound))
    time.sleep(0.05)  # the pipe is full now
    hanging.break_()
    for number in range(3):
        out.put(lines(bound + number))
    started = time.monotonic()
    out.close()
    assert time.monotonic() - started < 60
    assert counters["eve.lost"] == bound + 3


def test_a_writer_that_retires_holds_nobody_up_and_the_next_one_goes_behind_it(
    hanging: Hanging, counters: Counters, tmp_path: Path
) -> None:
    """As at a reload, which the packets wait for: both may have the same file, whose lines stay whole and in order."""
    first = LineWriter(hanging.path, "eve", counters, patient=False)
    first.put(lines(0, 100))
    assert soon(lambda: not first._waiting), "more than the pipe takes: it hangs"
    second = LineWriter(hanging.path, "eve", counters, patient=False, behind=[first])
    first.retire()  # returns
    assert not first.retired()
    second.put(lines(100, 10))
    beside = LineWriter(str(tmp_path / "other"), "eve", counters, patient=False, behind=[first, second])
    beside.put(lines(7))
    beside.close()
    assert numbers((tmp_path / "other").read_bytes()) == [7], "another file waits for none"
    thread = closing(second)
    assert numbers(hanging.read_all(lambda: not thread.is_alive())) == list(range(110))
    assert first.retired()
    assert counters["eve.lost"] == 0


@pytest.mark.parametrize("patient", [True, False])
def test_lines_that_cannot_be_read_are_lost_alone(
    tmp_path: Path, counters: Counters, patient: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def shown(data: bytes) -> bytes:
        if b".13\n" in data:
            raise ValueError("odd")
        return data

    out = LineWriter(str(tmp_path / "eve"), "eve", counters, patient=patient, shown=shown)
    for _ in range(2):
        out.put(lines(10, 10))
    out.close()
    assert set(numbers((tmp_path / "eve").read_bytes())) == {*range(10, 20)} - {13}
    assert counters["eve.lost"] == 2
    assert len(caplog.records) == 1, "once"


@contextlib.contextmanager
def room(limit_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("patient", [True, False])
def test_a_full_disk_leaves_no_torn_line_and_the_writer_goes_on_when_there_is_room(
    tmp_path: Path, counters: Counters, caplog: pytest.LogCaptureFixture, patient: bool
) -> None:
    file = tmp_path / "eve.json"
    out = LineWriter(str(file), "eve", counters, patient=patient)
    put = 0

    def settled() -> bool:
        return "events are being lost: File too large" in caplog.text or file.stat().st_size == put * LINE_BYTES

    with room((2 << 20) + 500):  # in the middle of a line
        while "being lost" not in caplog.text:
            assert put < 4096
            out.put(lines(put, 100))
            put += 100
            assert soon(settled)
        kept = numbers(file.read_bytes())
    out.put(lines(999_999))
    out.close()
    assert kept == list(range(put - 100))
    assert numbers(file.read_bytes()) == [*kept, 999_999]
    assert counters["eve.lost"] == 100
    assert "can be written again; 100 events were lost" in caplog.text


def test_a_disk_that_hangs_does_not_keep_the_engine_from_stopping(
    hanging: Hanging, counters: Counters, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CLOSE_S", 0.2)
    out = LineWriter(hanging.path, "eve", counters, patient=True)
    out.put(lines(0, 100))
    out.put(lines(100, 100))
    started = time.monotonic()
    out.close()
    assert time.monotonic() - started < 60
    assert "the disk hangs; the last events are lost" in caplog.text
    assert counters["eve.lost"] == 200
    hanging.break_()
    assert soon(lambda: "cannot be written" in caplog.text), "the thread ends"


def test_a_new_file_is_for_its_owner_and_group_alone(tmp_path: Path) -> None:
    """It holds what people sent, passwords in request bodies included."""
    before = os.umask(0)
    try:
        LineWriter(str(tmp_path / "eve.json"), "eve", Counters(), patient=True).close()
    finally:
        os.umask(before)
    assert (tmp_path / "eve.json").stat().st_mode & 0o777 == 0o640


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the file with each batch, and often without one."""
    monkeypatch.setattr(writer, "LOOK_S", 0.001)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("gone", ["moved", "deleted"])
def test_a_file_that_is_gone_is_made_anew_without_an_event_to_ask_for_it(
    tmp_path: Path, counters: Counters, gone: str
) -> None:
    file, former = tmp_path / "eve.json", tmp_path / "eve.json.1"
    out = LineWriter(str(file), "eve", counters, patient=False)
    out.put(lines(1))
    assert soon(lambda: file.stat().st_size == LINE_BYTES)
    if gone == "moved":
        file.rename(former)
    else:
        file.unlink()
    assert soon(file.exists)
    assert file.stat().st_mode & 0o137 == 0, "as narrow as the first one"
    out.put(lines(2))
    out.close()
    assert numbers(file.read_bytes()) == [2]
    assert gone == "deleted" or numbers(former.read_bytes()) == [1]
    assert counters["eve.lost"] == 0


@pytest.mark.usefixtures("quick")
def test_a_file_that_another_took_the_place_of_is_left(tmp_path: Path, counters: Counters) -> None:
    """As logrotate does with `create`: the new one has the owner and the mode that it was given."""
    file = tmp_path / "eve.json"
    out = LineWriter(str(file), "eve", counters, patient=False)
    made = tmp_path / "made"
    made.touch(0o600)
    made.replace(file)  # at once: where no file is, the writer makes one
    place = file.stat().st_ino
    assert soon(lambda: any(Path(fd).exists() and Path(fd).samefile(file) for fd in Path("/proc/self/fd").iterdir()))
    out.put(lines(1))
    out.close()
    assert numbers(file.read_bytes()) == [1]
    assert (file.stat().st_ino, file.stat().st_mode & 0o777) == (place, 0o600)


@pytest.mark.usefixtures("quick")
def test_a_file_that_is_cut_off_is_gone_on_with_from_its_beginning(
    tmp_path: Path, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    """As logrotate does with `copytruncate`: no hole of zeros, and no torn line."""
    caplog.set_level("INFO")
    file = tmp_path / "eve.json"
    out = LineWriter(str(file), "eve", counters, patient=False)
    out.put(lines(0, 10))
    assert soon(lambda: file.stat().st_size == 10 * LINE_BYTES)
    assert soon(lambda: out._end == 10 * LINE_BYTES)
    os.truncate(file, 0)
    assert soon(lambda: "was cut off" in caplog.text)
    out.put(lines(10))
    out.close()
    assert numbers(file.read_bytes()) == [10]


@pytest.mark.usefixtures("quick")
def test_a_file_that_cannot_be_made_anew_costs_events_that_are_counted_until_it_can(
    tmp_path: Path, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    folder, place, plug = tmp_path / "logs", tmp_path / "place", tmp_path / "plug"
    place.mkdir()
    folder.symlink_to(place)
    file = folder / "eve.json"
    out = LineWriter(str(file), "eve", counters, patient=False)
    plug.touch()
    plug.replace(folder)  # nothing can be made in it now, not even by root; at once: what is gone, the writer makes
    (place / file.name).unlink()
    assert soon(lambda: "cannot be made anew" in caplog.text)
    out.put(lines(1, 3))
    assert soon(lambda: "events are being lost" in caplog.text)
    folder.unlink()
    assert soon(file.exists)
    out.put(lines(4))
    out.close()
    assert numbers(file.read_bytes()) == [4]
    assert counters["eve.lost"] == 3
    assert caplog.text.count("and cannot be made anew:") == 1, "once, however often it is tried"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_loses_whole_lines_into_a_counter_and_recovers_at_once(
    small_disk: Path, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    file, ballast = small_disk / "eve.json", small_disk / "ballast"
    ballast.write_bytes(bytes(20 << 10))
    out = LineWriter(str(file), "eve", counters, patient=False)
    put = 0

    def settled() -> bool:
        return file.stat().st_size == put * LINE_BYTES or "No space left on device" in caplog.text

    while "No space left on device" not in caplog.text:
        assert put < 1000
        out.put(lines(put, 7))
        put += 7
        assert soon(settled)
    kept = numbers(file.read_bytes())
    assert kept == list(range(put - 7))
    ballast.unlink()
    out.put(lines(999_999))
    out.close()
    assert numbers(file.read_bytes()) == [*kept, 999_999], "the first line after there is room"
    assert counters["eve.lost"] == 7
    assert "can be written again; 7 events were lost" in caplog.text
