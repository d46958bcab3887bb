"""What an operator can say: the configuration as frozen, typed objects.

`units` and `values` read single values, `section` refuses unknown keys, `certificates`, `sites` and
`model` say what keys there are, `document` knows where in a file a value stands, `references` looks
at the files a configuration names, and `file` puts it all together.
"""

from .certificates import EAB, Acme, Alerts, CertificateFiles, Eab, Smtp, ValidationPorts
from .model import (
    AccessLog,
    Config,
    Limits,
    Listen,
    Timeouts,
    for_local_use,
    local_names,
    schema,
)
from .sites import Health, RateLimit, Route, Site
from .units import Address, Network, Origin, UnixPath

__all__ = [
    "EAB", "AccessLog", "Acme", "Address", "Alerts", "CertificateFiles", "Config", "Eab",
    "Health", "Limits", "Listen", "Network", "Origin", "RateLimit", "Route", "Site", "Smtp",
    "Timeouts", "UnixPath", "ValidationPorts", "for_local_use", "local_names", "schema",
]  # fmt: skip
