"""Secrets in a target are masked, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.redaction import Redaction

masked = Redaction(["token"]).masked


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (b"/stats?token=s3cret", b"/stats?token=***"),
        (b"/stats?a=1&token=s3cret&b=2", b"/stats?a=1&token=***&b=2"),
        (b"/stats?token=one&token=two", b"/stats?token=***&token=***"),
        (b"/stats?token=s3cret=more", b"/stats?token=***"),
        (b"/stats?token=", b"/stats?token=***"),
    ],
)
def test_a_secrets_value_is_masked_and_nothing_else(target: bytes, seen: bytes) -> None:
    assert masked(target) == seen


@pytest.mark.parametrize(
    "name",
    [b"t%6fken", b"t%6Fken", b"%74%6f%6b%65%6e", b"Token", b"TOKEN", b"t%4Fken", b"token[]",
     b"token[0]", b"token%5B%5D", b"token%5b0]"],
)  # fmt: skip
def test_a_name_is_recognised_however_it_is_written(name: bytes) -> None:
    assert masked(b"/stats?a=1&%b=s3cret" % name) == b"/stats?a=1&%b=***" % name


@pytest.mark.parametrize("before", [b"?a=1;", b";", b"?b?", b"?&", b"?;"])
def test_a_name_is_recognised_behind_any_separator(before: bytes) -> None:
    assert masked(b"/stats%btoken=s3cret" % before) == b"/stats%btoken=***" % before


def test_a_value_is_masked_beyond_a_semicolon_where_not_every_server_ends_it() -> None:
    assert masked(b"/stats?token=s3;cret&a=1") == b"/stats?token=***&a=1"


@pytest.mark.parametrize(
    "target",
    [b"/", b"*", b"/token=1", b"/stats?tokens=1", b"/stats?my_token=1", b"/stats?a=token", b"/?%zz",
     b"/stats?token", b"/announce?info_hash=%00%FF%AA&port=6881"],
)  # fmt: skip
def test_a_target_without_a_secret_stays_as_it_is(target: bytes) -> None:
    assert masked(target) == target


def test_several_names_are_masked() -> None:
    several = Redaction(["token", "api-key", "gehört"]).masked
    target = b"/?api-key=1&token=2&geh%c3%b6rt=3&geh\xc3\xb6rt=4&left=5"
    seen = b"/?api-key=***&token=***&geh%c3%b6rt=***&geh\xc3\xb6rt=***&left=5"
    assert several(target) == seen


def test_a_name_is_not_read_as_a_pattern() -> None:
    assert Redaction(["t.k"]).masked(b"/?tok=1&t.k=2") == b"/?tok=1&t.k=***"


paths = Redaction(["/announce/", "/scrape/"]).masked


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        (b"/announce/YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ", b"/announce/***"),
        (b"/announce/s3cret?info_hash=%00", b"/announce/***?info_hash=%00"),
        (b"/announce/s3cret/x", b"/announce/***"),
        (b"/scrape/s3cret?a=/announce/1", b"/scrape/***?a=/announce/1"),
        (b"//announce/s3cret", b"//announce/***"),
        (b"/%61nnounce%2Fs3cret", b"/%61nnounce%2F***"),
        (b"/tracker/announce/s3cret", b"/tracker/announce/***"),
    ],
)
def test_what_follows_a_secret_path_is_masked(target: bytes, seen: bytes) -> None:
    assert paths(target) == seen


@pytest.mark.parametrize(
    "target", [b"/announce", b"/announce?a=1", b"/announce/", b"/?a=/scrape/1"]
)
def test_a_path_without_a_secret_stays_as_it_is(target: bytes) -> None:
    assert paths(target) == target


def test_without_secrets_nothing_is_masked() -> None:
    assert Redaction([]).masked(b"/announce/key?token=1") == b"/announce/key?token=1"


@given(
    before=st.lists(st.sampled_from([b"a=1", b"x", b"", b"%00=%ff", b"b=t%6fken"]), max_size=4),
    value=st.text("abcXYZ019%;=+/?", min_size=1).map(str.encode),
    separator=st.sampled_from([b"&", b";"]),
)
def test_no_part_of_a_secret_is_left_whatever_stands_around_it(
    before: list[bytes], value: bytes, separator: bytes
) -> None:
    query = separator.join([*before, b"token=" + b"SECRET" + value, b""])
    assert b"SECRET" not in masked(b"/stats?" + query)


@given(st.lists(st.sampled_from([b"/a", b"/?token=1", b"/?tok", b"en=2", b"/?t%6Fken=3", b""])))
def test_several_targets_are_masked_as_each_is(targets: list[bytes]) -> None:
    redaction = Redaction(["token"])
    assert redaction.all_masked(targets) == [*map(redaction.masked, targets)]
