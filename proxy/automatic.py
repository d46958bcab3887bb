"""What a configuration says of automatic certificates, in the words of `acme_client`.

Law: it loads nothing that issues or serves, so that a command, or the TAB key, has its answer soon.
"""

from acme_client import Eab, Settings

from .config import Config


def hosts_of(config: Config) -> list[str]:
    """The hosts whose certificates are issued automatically."""
    return [name for name, site in config.sites.items() if site.tls == "acme"]


def settings_of(config: Config) -> Settings:
    """What the configuration says of certificate authorities."""
    acme = config.acme
    by_hook = ("dns-01",) if acme.dns_hook else ()
    return Settings(
        directory=acme.directory,
        email=acme.email,
        ca_bundle=acme.ca_bundle,
        challenges=(*acme.challenges, *by_hook),
        profile=acme.profile,
        key_type=acme.key_type,
        eab=None if acme.eab is None else Eab(acme.eab.key_id, acme.eab.hmac_key),
        fallback=acme.fallback,
        dns_hook=acme.dns_hook,
    )


def alike(one: Config, other: Config) -> bool:
    """Whether the two configurations are the same for the process that issues."""
    return all(
        said(one) == said(other)
        for said in (hosts_of, settings_of, lambda config: (config.alerts, config.store))
    )
