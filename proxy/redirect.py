"""What port 80 answers: a redirect to https for known hosts, and ACME's http-01 tokens."""

from collections.abc import Callable, Sequence

from .answers import content_answer, redirect_answer
from .errors import ClientError
from .head import RequestHead
from .listener import Listener
from .plain import Respond

_CHALLENGES = b"/.well-known/acme-challenge/"


def redirecting(
    listener: Listener, https_port: int, http_token: Callable[[str], bytes | None]
) -> Respond:
    """Answer as port 80 does; `http_token` gives what an authority may ask (RFC 8555 §8.3)."""

    def respond(request: RequestHead, close: bool) -> bytes:
        head_only, date = request.method == b"HEAD", listener.clock.date
        if request.method in (b"CONNECT", b"TRACE"):
            raise ClientError(405, "this method is not served")
        if request.target.startswith(_CHALLENGES):
            content = http_token(request.target.removeprefix(_CHALLENGES).decode("ascii"))
            if content is None:
                raise ClientError(404, "no such challenge is under way")
            return content_answer(content, date=date, close=close, bodiless=head_only)
        if listener.table.site(request.host_name) is None:
            raise ClientError(404, "there is no such site here")
        location = location_of(request, https_port)
        return redirect_answer(location, date=date, close=close, bodiless=head_only)

    return respond


def port_for_visitors(https_ports: Sequence[int]) -> int:
    """The port to name of those that https is served on: 443 if it is one, else the first."""
    return 443 if 443 in https_ports else https_ports[0]


def location_of(request: RequestHead, https_port: int) -> bytes:
    """The same URL on https, with the port where it isn't 443. The target's bytes stay."""
    port = b"" if https_port == 443 else b":%d" % https_port
    target = b"/" if request.target == b"*" else request.target
    return b"https://%b%b%b" % (request.host_name.encode("ascii"), port, target)
