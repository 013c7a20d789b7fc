"""The limits and the usage of keys in a running server, as its configuration says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cc_serve.api.peers import Peers
from cc_serve.api.tenants.limiter import Limiter
from cc_serve.api.tenants.memory import MemoryLimiter
from cc_serve.api.tenants.shared import SharedLimiter
from cc_serve.api.tenants.store import Store
from cc_serve.api.tenants.usage import Ledger
from cc_serve.api.tenants.usage_file import UsageFile
from cc_serve.api.tenants.usage_store import UsageInStore
from cc_serve.config.settings import Settings


@dataclass(frozen=True)
class Tenancy:
    """Limits and usage of keys.

    Args:
        limiter: admits requests.
        ledger: keeps what was used; None if usage is not kept.
    """

    limiter: Limiter
    ledger: Ledger | None = None


@asynccontextmanager
async def open_tenancy(settings: Settings, peers: Peers | None = None) -> AsyncIterator[Tenancy]:
    """Tenancy in the store, if there is one; otherwise in this process, with a file for the usage if one is named.

    Args:
        settings: name the store or the file.
        peers: the server's other processes; by default, there are none.

    Raises:
        ConfigurationError: the file cannot be used.
    """
    section, usage = settings.store, settings.usage
    if section is not None:
        store = Store(section)
        limiter = SharedLimiter(store)
        ledger = Ledger(UsageInStore(store, usage.keep_days), peers)
        try:
            yield Tenancy(limiter, ledger)
        finally:
            await limiter.close()
            await ledger.close()
            await store.close()
    elif usage.file is not None:
        file = UsageFile(usage.file, usage.keep_days)
        ledger = Ledger(file, peers)
        try:
            yield Tenancy(MemoryLimiter(file.spent()), ledger)
        finally:
            await ledger.close()
            file.close()
    else:
        yield Tenancy(MemoryLimiter())
