"""An authoritative name server with PowerDNS's HTTP API, as far as Lexicon and authorities ask.

Law: what the API was told, and only that, is what DNS answers.
"""

from __future__ import annotations

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

TOKEN = "a-secret-nobody-may-see"


@dataclass
class Zone:
    """One zone, its ports, and its TXT records; every name in it is on loopback."""

    name: str
    port: int = 0  # of DNS
    api: int = 0
    texts: dict[str, list[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    hidden: int = 0  # how many questions for TXT are answered as if nothing had been set yet
    copies: list[Callable[[str, list[str]], None]] = field(default_factory=list)

    def put(self, name: str, texts: list[str]) -> None:
        """Make `texts` the TXT records of `name`; `copies` of the zone are told as well."""
        self.texts[name] = texts
        for tell in self.copies:
            tell(name, [text.strip('"') for text in texts])

    def answer(self, question: bytes) -> bytes:
        """What DNS says (RFC 1035 §4.1; RFC 2308 §2.2 where there is nothing)."""
        query = dns.message.from_wire(question)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.AA
        for asked in query.question:
            records = self._records(asked.name.to_text(omit_final_dot=True).lower(), asked.rdtype)
            for kind, value in records:
                response.answer.append(dns.rrset.from_text(asked.name, 1, "IN", kind, value))
        if not response.answer:
            response.authority.append(dns.rrset.from_text(f"{self.name}.", 1, "IN", "SOA", SOA))
        return response.to_wire()

    def _records(self, name: str, kind: int) -> Iterator[tuple[str, str]]:
        if name in self.aliases:
            yield "CNAME", f"{self.aliases[name]}."
        elif kind == dns.rdatatype.TXT and self.hidden:
            self.hidden -= 1
        elif kind == dns.rdatatype.TXT:
            yield from (("TXT", text) for text in self.texts.get(name, []))
        elif kind == dns.rdatatype.A:
            yield "A", "127.0.0.1"
        elif name == self.name and kind == dns.rdatatype.SOA:
            yield "SOA", SOA
        elif name == self.name and kind == dns.rdatatype.NS:
            yield "NS", f"ns.{self.name}."

    def document(self) -> dict[str, object]:
        """The zone as the API shows it."""
        rrsets = [
            {
                "name": f"{name}.",
                "type": "TXT",
                "ttl": 300,
                "records": [{"content": text, "disabled": False} for text in texts],
            }
            for name, texts in self.texts.items()
        ]
        return {"name": f"{self.name}.", "kind": "Native", "rrsets": rrsets}


SOA = "ns.invalid. hostmaster.invalid. 1 60 60 60 1"


@contextmanager
def powerdns(name: str) -> Iterator[Zone]:
    """A zone that is served on loopback in the `with` block."""
    zone = Zone(name)
    with _Dns(("127.0.0.1", 0), _Question) as dns, _Api(("127.0.0.1", 0), _Call) as api:
        zone.port, zone.api = dns.server_address[1], api.server_address[1]
        dns.zone = api.zone = zone
        threads = [
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            for server in (dns, api)
        ]
        for thread in threads:
            thread.start()
        yield zone
        for server in (dns, api):
            server.shutdown()
        for thread in threads:
            thread.join()


class _Dns(socketserver.UDPServer):
    zone: Zone


class _Api(http.server.ThreadingHTTPServer):
    zone: Zone


class _Question(socketserver.BaseRequestHandler):
    server: _Dns

    def handle(self) -> None:
        octets, line = self.request
        line.sendto(self.server.zone.answer(octets), self.client_address)


class _Call(http.server.BaseHTTPRequestHandler):
    server: _Api

    def log_message(self, *_: object) -> None:
        """Tests look at the zone."""

    def do_GET(self) -> None:
        self._answer(200 if self._allowed() else 401, self.server.zone.document())

    def do_PATCH(self) -> None:
        told: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._allowed():
            for rrset in told["rrsets"]:
                texts = [each["content"] for each in rrset["records"]]
                self.server.zone.put(rrset["name"].rstrip("."), texts)
        self._answer(204 if self._allowed() else 401, None)

    def _allowed(self) -> bool:
        mine = f"/api/v1/servers/localhost/zones/{self.server.zone.name}."
        return self.path.startswith(mine) and self.headers["X-API-Key"] == TOKEN

    def _answer(self, status: int, document: object) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
