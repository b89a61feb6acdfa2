"""What apt says of a package, and files that are not what it says."""

from pathlib import Path

import pytest

from qubeward.workshop import packages
from qubeward.workshop.errors import WorkshopError
from qubeward.workshop.packages import fetch, find_dependency, parse_uri_line

LINE = (
    b"'http://mirror.example/debian/pool/main/b/busybox/busybox-static_1.35.0-4_amd64.deb'"
    b" busybox-static_1%3a1.35.0-4_amd64.deb 3 "
    b"SHA256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"
)
PACKAGE = parse_uri_line("busybox-static", LINE)


def test_apts_line_names_the_file_and_its_digest() -> None:
    assert PACKAGE.file == "busybox-static_1%3a1.35.0-4_amd64.deb"
    assert PACKAGE.size_bytes == 3
    assert (PACKAGE.algorithm, PACKAGE.digest[:4]) == ("sha256", "ba78")


@pytest.mark.parametrize("output", [b"", b"'http://x/' ../evil.deb 3 SHA256:00\n", b"nonsense\n"])
def test_other_output_says_what_to_do(output: bytes) -> None:
    with pytest.raises(WorkshopError, match="apt-get update"):
        parse_uri_line("x", output)


def test_intact_file_in_the_cache_is_not_downloaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "call", downloader(b"abc"))
    said: list[str] = []
    for _ in range(2):
        assert fetch(PACKAGE, tmp_path, said.append).read_bytes() == b"abc"
    assert said == ["downloading busybox-static_1%3a1.35.0-4_amd64.deb (0.0 MB)"]
    (tmp_path / "debs" / PACKAGE.file).write_bytes(b"xyz")
    assert fetch(PACKAGE, tmp_path, said.append).read_bytes() == b"abc"


def test_file_with_another_digest_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "call", downloader(b"abd"))
    with pytest.raises(WorkshopError, match="another file"):
        fetch(PACKAGE, tmp_path, lambda _: None)
    assert list((tmp_path / "debs").iterdir()) == []


def test_dependency_is_found_in_apts_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-1-cloud-amd64\n  Suggests: x\n"
    monkeypatch.setattr(packages, "call", lambda *words: text)
    found = find_dependency("linux-image-cloud-amd64", r"linux-image-\d\S*")
    assert found == "linux-image-6.1.0-1-cloud-amd64"
    with pytest.raises(WorkshopError, match="depends on no"):
        find_dependency("linux-image-cloud-amd64", "linux-modules")


def downloader(data: bytes):
    def call(*words, cwd: Path, timeout_s: float) -> bytes:
        (cwd / PACKAGE.file).write_bytes(data)
        return b""

    return call
