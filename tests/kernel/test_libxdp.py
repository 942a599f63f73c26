"""libxdp is found at run time; what it does not like is reported in its own words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ids.errors import KernelError
from ids.kernel.attach import libxdp
from ids.kernel.attach.libxdp import LibXdp, library
from ids.kernel.program import loader


@pytest.fixture
def lib() -> LibXdp:
    """The library, or a skip that says what is missing."""
    try:
        return library()
    except KernelError as error:
        pytest.skip(str(error))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without libxdp."""
    with monkeypatch.context() as patch:
        patch.setattr(libxdp, "SONAME", "libxdp-nowhere.so.1")
        library.cache_clear()
        yield
    library.cache_clear()


@pytest.mark.usefixtures("nowhere")
def test_a_missing_library_is_named_with_its_package() -> None:
    with pytest.raises(KernelError, match=r"libxdp-nowhere\.so\.1.*apt-get install libxdp1") as caught:
        library()
    assert caught.value.exit_code == 3


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: loads BTF")
def test_a_description_is_taken_by_the_kernel_and_found_again(lib: LibXdp) -> None:
    with lib.described("xdp_ids", 10) as (fd, function):
        assert os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:btf"
        btf_id = int(Path(f"/proc/self/fdinfo/{fd}").read_text().split("btf_id:")[1].split()[0])
        assert lib.function_id(btf_id, "xdp_ids") == function
        with pytest.raises(KernelError, match="cannot find prog0"):
            lib.function_id(btf_id, "prog0")


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: looks for a program")
def test_a_refusal_has_the_librarys_words(lib: LibXdp, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KernelError, match=r"cannot join libxdp's dispatcher.*\n.*couldn't get program fd"):
        lib.attach(0x7FFFFFFF, 1, "native")
    assert capfd.readouterr() == ("", ""), "they are not printed besides"


def test_what_calls_another_program_goes_on_behind_the_call() -> None:
    before, call, end = bytes(8), bytes.fromhex("85000000 0c000000"), bytes.fromhex("95000000 00000000")
    assert loader.without_tail_calls(before + call + end) == before + bytes.fromhex("b7000000 00000000") + end
