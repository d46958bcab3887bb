"""A YAML text becomes plain values, the same by whichever parser."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.config.document import Document, NotYamlError

ALPHABET = st.sampled_from([*"asx: -\n'\"{}[]&*|>#,$.1é𝄞", "\n  ", "a: ", "\n- ", "\r\n", ": {"])
CONFIGURATION = """\
listen: {https: ["[::]:443", 127.0.0.1:8443], http: false}
store: ${STORE:-/var/lib/hopward}
sites:
  a.example.com: http://127.0.0.1:3000
  "*.example.com": &several
    to: [http://10.0.0.1:80, unix:/run/x.sock]   # two
    response_headers: {X-A: 'it''s', X-B: , X-C: null}
  c.example.com: *several
"""


def read(text: str) -> tuple[object, list[tuple[object, int, int]]] | str:
    """Values, and the line and column of each; or what is wrong."""
    try:
        found = Document.read(text.encode(), "hopward.yml", {})
    except NotYamlError as error:
        return str(error.problem)
    places = [found.problem(place, "") for place in found.key_places()]
    return found.values, [(place.file, place.line, place.column) for place in places]


@settings(deadline=None)
@given(st.lists(ALPHABET, max_size=40).map("".join))
@example(CONFIGURATION)
@example("a: b\n---\nc: d\n")
@example("a: [1, 2")
def test_what_both_parsers_take_they_read_alike(text: str) -> None:
    quickly = read(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        slowly = read(text)
    if isinstance(quickly, str) or not isinstance(slowly, str):
        assert quickly == slowly
