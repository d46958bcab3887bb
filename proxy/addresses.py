"""What counts as one client. Pure."""

from socket import AF_INET, AF_INET6, inet_pton


def client_network(address: str) -> bytes:
    """What a limit takes for one client: an IPv4 address, or an IPv6 network of 64 bits.

    That much of IPv6 the smallest of customers is given (RFC 6177). `address` is a plain one.
    """
    return inet_pton(AF_INET6, address)[:8] if ":" in address else inet_pton(AF_INET, address)
