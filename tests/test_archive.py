"""A backup's file format: what is sound, and everything that is refused before it is used."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy import archive
from proxy.archive import BackupError, describe, pack, unpack
from proxy.backup import restore
from tests.authority import Authority

CONTENTS = {"hopward.yml": b"sites:\n  a.example: http://127.0.0.1:1\n", "store/acme.json": b"{}"}
Change = Callable[[dict[str, Any]], None]


def packed(contents: dict[str, bytes], **places: object) -> bytes:
    members = {
        name: describe(content, **({"place": places["place"]} if name[:5] == "files" else {}))
        for name, content in contents.items()
    }
    return pack(contents, members, owner=(None, None))


def written(folder: Path, content: bytes) -> Path:
    path = folder / "in.tar.gz"
    path.write_bytes(content)
    return path


def tarred(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def manifest_of(contents: dict[str, bytes], change: Change = lambda manifest: None) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(packed(contents))) as tar:
        reader = tar.extractfile("manifest.json")
        assert reader is not None
        manifest = json.loads(reader.read())
    change(manifest)
    return json.dumps(manifest).encode()


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    assert unpack(written(tmp_path, packed(CONTENTS)))[1] == CONTENTS


def test_any_tar_program_can_read_an_archive(tmp_path: Path) -> None:
    with tarfile.open(written(tmp_path, packed(CONTENTS)), "r:gz") as tar:
        assert tar.getnames() == ["manifest.json", *CONTENTS]
        assert all(member.mode == 0o600 for member in tar)


@pytest.mark.parametrize(
    "name",
    [
        "../hopward.yml", "/etc/passwd", "store/../../etc/passwd", "store/..", "store/.hidden.pem",
        "store/sub/folder.pem", "store/A.pem", "store/x.sh", "files/../1", "files/x", "",
        "store/local-ca/other.key", "store/a\n.pem", "./hopward.yml", "store\\x.pem",
    ],
)  # fmt: skip
def test_a_name_that_is_none_of_ours_is_refused(tmp_path: Path, name: str) -> None:
    raw = tarred((entry("manifest.json"), manifest_of(CONTENTS)), (entry(name), b"x"))
    with pytest.raises(BackupError, match="none of its files"):
        unpack(written(tmp_path, raw))


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE,
     tarfile.DIRTYPE],
)  # fmt: skip
def test_neither_links_nor_devices_nor_folders_are_taken(tmp_path: Path, kind: bytes) -> None:
    raw = tarred((entry("store/a.example.pem", kind, "/etc/passwd"), b""))
    with pytest.raises(BackupError, match="none of its files"):
        unpack(written(tmp_path, raw))


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    twice = [(entry("hopward.yml"), CONTENTS["hopward.yml"])] * 2
    with pytest.raises(BackupError, match="in it twice"):
        unpack(written(tmp_path, tarred(*twice)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(version=2), "its format is number 2"),
        (lambda m: m.update(format="something"), "its manifest is not one"),
        (lambda m: m.update(more=1), "its manifest is not one"),
        (lambda m: m["members"].pop("store/acme.json"), r"differ: store/acme\.json"),
        (lambda m: m["members"].update(x={"size": 1, "sha256": ""}), "differ: x"),
        (lambda m: m["members"]["hopward.yml"].update(size=1), "changed or damaged"),
        (lambda m: m["members"]["hopward.yml"].update(sha256="0" * 64), "changed or damaged"),
        (lambda m: m["members"]["hopward.yml"].update(mode="x"), "its manifest is not one"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path, change: Change, words: str
) -> None:
    files = [(entry(name), content) for name, content in CONTENTS.items()]
    raw = tarred((entry("manifest.json"), manifest_of(CONTENTS, change)), *files)
    with pytest.raises(BackupError, match=words):
        unpack(written(tmp_path, raw))


def test_an_archive_without_a_manifest_is_none_of_ours(tmp_path: Path) -> None:
    raw = tarred((entry("hopward.yml"), CONTENTS["hopward.yml"]))
    with pytest.raises(BackupError, match="is no backup of hopward"):
        unpack(written(tmp_path, raw))


def test_an_archive_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="no configuration"):
        unpack(written(tmp_path, packed({"store/acme.json": b"{}"})))


def test_an_archive_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LARGEST", 1 << 20)
    with pytest.raises(BackupError, match="more than 1 MiB"):
        unpack(written(tmp_path, gzip.compress(bytes(2 << 20))))


@pytest.mark.parametrize("content", [b"", b"sites: {}\n", b"PK\x03\x04", gzip.compress(b"hello")])
def test_what_is_no_archive_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BackupError, match=r"in\.tar\.gz") as caught:
        unpack(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"nothing\.tar\.gz: No such file"):
        unpack(tmp_path / "nothing.tar.gz")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_cut_archive_is_refused(tmp_path: Path, cut: float) -> None:
    whole = packed(CONTENTS)
    with pytest.raises(BackupError):
        unpack(written(tmp_path, whole[: int(len(whole) * cut)]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 1 << 30), st.binary(max_size=4)), min_size=1))
def test_damage_within_is_refused_or_changes_nothing(
    tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    plain = bytearray(gzip.decompress(packed(CONTENTS)))
    for position, junk in changes:
        start = position % len(plain)
        plain[start : start + len(junk)] = junk
    try:
        _, contents = unpack(written(tmp_path, gzip.compress(bytes(plain), 1)))
    except BackupError:
        return
    assert contents == CONTENTS


# ---- sound archives with contents that cannot be used


def test_a_key_that_is_anothers_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.pair("a.example"), authority.pair("a.example")
    stem = "store/a.example"
    contents = {
        **CONTENTS,
        f"{stem}.pem": one.cert.read_bytes(),
        f"{stem}.key": other.key.read_bytes(),
    }
    refused(tmp_path, packed(contents), r"store/a\.example\.pem .* belongs to another key")


def test_a_certificate_that_is_for_another_host_is_refused(tmp_path: Path) -> None:
    pair = Authority(tmp_path).pair("b.example")
    stem = "store/a.example"
    contents = {
        **CONTENTS,
        f"{stem}.pem": pair.cert.read_bytes(),
        f"{stem}.key": pair.key.read_bytes(),
    }
    refused(tmp_path, packed(contents), "is not for a.example")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("store/acme.json", b"[]"),
        ("store/a.example.json", b"[]"),
        ("store/a.example.key", b"x"),
        ("store/a.example.pem", b"x"),
        ("store/local-ca/root.pem", b"x"),
        ("hopward.yml", b"\xff"),
        ("hopward.yml", b"sites: ["),
    ],
)
def test_contents_that_mean_nothing_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    refused(tmp_path, packed({**CONTENTS, name: content}), ".")


def test_a_file_goes_nowhere_but_where_the_configuration_names_it(tmp_path: Path) -> None:
    pem = Authority(tmp_path).pair("a.example").cert.read_bytes()
    raw = packed({**CONTENTS, "files/1": pem}, place=("acme", "ca_bundle"))
    refused(tmp_path, raw, r"acme\.ca_bundle, which names no file")


def test_a_named_file_is_what_it_is_named_for(tmp_path: Path) -> None:
    configuration = b"acme: {ca_bundle: /etc/cron.d/x}\nsites: {a.example: 'http://127.0.0.1:1'}\n"
    contents = {"hopward.yml": configuration, "files/1": b"* * * * * root true\n"}
    refused(tmp_path, packed(contents, place=("acme", "ca_bundle")), "no certificate in PEM")


def refused(folder: Path, raw: bytes, words: str) -> None:
    """The archive is refused in one line, and nothing is written."""
    path, target = written(folder, raw), folder / "target"
    with pytest.raises(BackupError, match=words) as caught:
        restore(path, target / "hopward.yml", target / "store", force=True)
    assert "\n" not in str(caught.value)
    assert not target.exists()
