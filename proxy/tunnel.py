"""After a 101: bytes both ways (RFC 9110 §7.8).

Law: a tunnel is transparent. What one end says the other hears, in order and unchanged, half-closes
and resets included; the exceptions are the drain, when a WebSocket gets Close 1001 in both
directions, between two frames, and the end of its site, when any other tunnel simply ends.
"""

import asyncio

from .client import Client
from .frames import Frames, close_frame
from .sockets import close_once_taken, reset, unacknowledged
from .upstream import Upstream

# How long both ends may take to answer a Close before their connections are simply closed.
CLOSING_SECONDS = 2.0
# Who says so much at once is read in bulk; the loop reads 250 KiB at most.
MUCH = 128 * 1024


class Tunnel:
    """The bytes between a client and an upstream that have left HTTP behind.

    `websocket`: the bytes are frames, and the drain may speak between them.
    """

    def __init__(
        self, client: Client, upstream: Upstream, *, websocket: bool, idle: float | None
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._from_client = Frames() if websocket else None
        self._from_upstream = Frames() if websocket else None
        self._draining = False
        self._client_ended = False
        self._upstream_ended = False
        self._upstream_told = False
        self._client_told = False
        self._unsent = 0
        upstream.receiver = self
        self._watch()

    def begin(self, early: bytes, ahead: bytes, *, ending: bool) -> None:
        """Pass on what came before the switch: `early` from the upstream, `ahead` from the client.

        `ending`: the process drains already.
        """
        if not self._client.writable():
            self.client_full()
        if early:
            self.upstream_received(early)
        if ahead:
            self.client_received(ahead)
        if ending:
            self.drain()

    def client_received(self, data: bytes | memoryview) -> None:
        """Bytes from the client."""
        if self._upstream_told:
            return
        frames = self._from_client
        if self._draining and frames is not None:
            data = data[: frames.rest_of_frame(data)]
        if frames is not None:
            frames.follow(data)
        if data:
            self._upstream.write(data)
        if self._draining:
            self._speak()
        elif self._idle is not None:
            self._watch()

    def upstream_received(self, data: bytes | memoryview) -> None:
        """Bytes from the upstream."""
        if self._client_told:
            return
        if len(data) >= MUCH:
            self._upstream.read_in_bulk(self)
        frames = self._from_upstream
        if self._draining and frames is not None:
            data = bytes(data[: frames.rest_of_frame(data)])
        if frames is not None:
            frames.follow(data)
        if data:
            self._client.send(data)
        if self._draining:
            self._speak()
        elif self._idle is not None:
            self._watch()

    def client_ended(self) -> None:
        """The client says nothing more; it may still listen."""
        self._client_ended = True
        if self._upstream_ended or not self._upstream.transport.can_write_eof():
            self._close()
        elif not self._upstream_told:
            self._upstream.transport.write_eof()

    def upstream_ended(self) -> bool:
        self._upstream_ended = True
        if self._client_ended:
            self._close()
            return False
        if not self._client_told:
            self._client.finish()
        # TLS of the loop's own has no half-close: it ends, and warns of whoever wants to go on.
        return self._upstream.transport.can_write_eof()

    def client_left(self) -> None:
        """The client's connection is gone."""
        # Once both have ended, the upstream may still be taking what the client said last.
        if self._upstream.receiver is self:
            reset(self._upstream.transport)
            self._upstream.close()

    def upstream_lost(self) -> None:
        if self._upstream_ended:
            self._client.close()
        else:
            self._client.break_off()

    def client_full(self) -> None:
        self._upstream.transport.pause_reading()

    def client_drained(self) -> None:
        self._upstream.transport.resume_reading()

    def upstream_full(self) -> None:
        self._client.hold()

    def upstream_drained(self) -> None:
        self._client.release()

    def expired(self) -> None:
        """Neither end has said anything for as long as the configuration allows, or taken anything:
        one that reads slowly what was said long ago is there."""
        upstream = self._upstream.transport
        before, self._unsent = self._unsent, self._client.unsent() + unacknowledged(upstream)
        told = self._upstream_told and self._client_told
        if told or (self._unsent == before and not upstream.get_write_buffer_size()):
            self._close()
        elif self._unsent != before:
            self._watch()
        else:
            # It will never take the rest, which is no clean end.
            self.client_left()
            self._client.break_off()

    def drain(self) -> None:
        """The process is ending: part from both ends as soon as a frame's end allows it."""
        if self._from_client is not None:
            self._draining = True
            self._speak()

    def retire(self) -> None:
        """The site is gone: part from both ends, which hear of it in a WebSocket as in a drain."""
        if self._from_client is not None:
            self.drain()
        else:
            self._upstream_told = self._client_told = True
            self._part()

    def _speak(self) -> None:
        """Say Close 1001 in each direction that stands between two frames."""
        up, down = self._from_client, self._from_upstream
        assert up is not None
        assert down is not None
        if not self._upstream_told and up.between:
            self._upstream_told = True
            if not up.closed and not self._client_ended:
                self._upstream.transport.write(close_frame(masked=True))
        if not self._client_told and down.between:
            self._client_told = True
            if not down.closed and not self._upstream_ended:
                self._client.send(close_frame(masked=False))
        if self._upstream_told and self._client_told:
            self._part()
        else:
            self._watch()

    def _part(self) -> None:
        """Both have been told: end what we say, and give them a moment to answer."""
        self._client.wait_until(self._loop.time() + CLOSING_SECONDS)
        if not self._upstream_ended:
            self._client.finish()
        if not self._client_ended and self._upstream.transport.can_write_eof():
            self._upstream.transport.write_eof()

    def _close(self) -> None:
        self._upstream.receiver = None
        close_once_taken(self._upstream.transport)
        self._client.close()

    def _watch(self) -> None:
        deadline = None if self._idle is None else self._loop.time() + self._idle
        self._client.wait_until(deadline)
