"""The settings in force: the configuration file, and what it means for each caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cc_serve.config.configuration import Configuration, ConfigurationError, KeyLimits, Limits, load_configuration
from cc_serve.config.keys import hash_key
from cc_serve.paths import GENERATING_PATHS
from cc_serve.routing.policy import PolicyError, RoutingPolicy
from cc_serve.routing.router import Router


@dataclass(frozen=True)
class Caller:
    """The sender of a request, and what applies to its requests.

    Args:
        name: the key's name; None without a key.
        admin: whether the key may call ``/admin``.
        weight: the key's share of turns while requests wait, and of places while these are few.
        key_limits: how much the key may use.
        limits: what any request may ask for.
        router: routes the key's requests.
        answer_languages: the share of answers whose language is detected, 0 to 1.
        among_others: whether other callers share the places.
    """

    name: str | None
    admin: bool
    weight: float
    key_limits: KeyLimits
    limits: Limits
    router: Router
    answer_languages: float
    among_others: bool = False


class Settings:
    """A configuration and everything that is made of it. It never changes: a reload makes new settings.

    Args:
        configuration: the content of the file.
        router: the checkpoint's router, whatever its policy.
        given: hashes by name of the keys from the command line and the environment.

    Raises:
        ConfigurationError: the checkpoint cannot follow the policy, a key has two names, or a name has two keys.
    """

    def __init__(self, configuration: Configuration, router: Router, given: Mapping[str, str]) -> None:
        self.configuration = configuration
        # By digest: a look-up takes no longer with more keys, and its time does not give a key away.
        self._names = {key.sha256: name for name, key in configuration.keys.items()}
        for name, digest in given.items():
            if name in configuration.keys or digest in self._names:
                raise ConfigurationError(f"keys.{name}: is also given on the command line or in the environment")
            self._names[digest] = name
        self.open_paths = frozenset(configuration.open_paths)
        self.usage = configuration.usage
        #: Where several servers keep together what keys use; None if each counts by itself.
        self.store = configuration.limits.store
        shared = _routed(router, configuration.routing, "routing")
        # Requests without a key have the engine work on the open paths that generate, and on no others.
        several = len(self._names) + bool(self.open_paths & GENERATING_PATHS) > 1
        self.callers = {
            name: replace(_caller(configuration, shared, name), among_others=several)
            for name in (None, *self._names.values())
        }

    @property
    def guarded(self) -> bool:
        """Whether requests need a key."""
        return bool(self._names)

    def caller(self, key: str | None) -> Caller | None:
        """The caller with this ``key``, or None; if the server has no keys, the anonymous caller."""
        name = self._names.get(hash_key(key)) if key is not None else None
        return self.callers[name] if name is not None or not self.guarded else None

    @property
    def anonymous(self) -> Caller:
        """The caller without a key."""
        return self.callers[None]


class LiveSettings:
    """The settings in force, which are read again from the file on demand.

    Args:
        path: the configuration file, or None for the defaults.
        router: the checkpoint's router.
        given: as for `Settings`.

    Raises:
        ConfigurationError: the file cannot be used.
    """

    def __init__(self, path: Path | None, router: Router, given: Mapping[str, str]) -> None:
        self.path = path
        self._router = router
        self._given = dict(given)
        self._check: Callable[[Configuration], object] = lambda _configuration: None
        self.current = self._read()

    @property
    def given(self) -> Mapping[str, str]:
        """Hashes by name of the keys that come from elsewhere than the file."""
        return self._given

    def require(self, check: Callable[[Configuration], object]) -> None:
        """Have ``check`` examine the configuration now and at each reload. It refuses one by a ConfigurationError."""
        self._check = check
        self.reload()

    def give(self, hashes: Mapping[str, str]) -> None:
        """Accept more keys, as hashes by name; a reload keeps them.

        Raises:
            ConfigurationError: a key has two names, or a name has two keys.
        """
        self._given |= hashes
        self.reload()

    def reload(self) -> None:
        """Put the file's present content in force; if `check` raises an error, everything stays as it was."""
        self.use(self.check())

    def use(self, settings: Settings) -> None:
        """Put ``settings`` from `check` in force. The file is not read again."""
        self.current = settings

    def check(self) -> Settings:
        """The settings that the file's present content would give; nothing changes.

        Raises:
            ConfigurationError: the file cannot be used, or names another store or another place for usage; or it has no
                keys any more, which would let everybody in, and which a file that is being written may look like.
        """
        settings = self._read()
        if self.current.guarded and not settings.guarded:
            raise ConfigurationError(f"{self.path}: has no keys any more; restart the server to serve without keys")
        if self.current.store != settings.store:
            raise ConfigurationError(f"{self.path}: limits.store: has changed; restart the server to use the new one")
        if self.current.usage != settings.usage:
            raise ConfigurationError(f"{self.path}: usage: has changed; restart the server to use the new one")
        return settings

    def check_router(self, router: Router) -> Settings:
        """The settings with another connection's router; raises ConfigurationError if it cannot follow them."""
        return Settings(self.current.configuration, router, self._given)

    def change_router(self, router: Router) -> None:
        """Put another connection's router in force, as `check_router` makes it. The file is not read again."""
        self.current = self.check_router(router)
        self._router = router

    def _read(self) -> Settings:
        if self.path is None:
            return Settings(Configuration(), self._router, self._given)
        configuration = load_configuration(self.path)
        try:
            self._check(configuration)
            return Settings(configuration, self._router, self._given)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.path}: {error}") from error


def _caller(configuration: Configuration, router: Router, name: str | None) -> Caller:
    key = configuration.keys.get(name) if name is not None else None
    if key is not None and key.routing.model_fields_set:
        router = _routed(router, configuration.routing_of(name), f"keys.{name}.routing")
    return Caller(
        name=name,
        admin=key is not None and key.admin,
        weight=key.weight if key is not None else 1.0,
        key_limits=configuration.limits_of(name),
        limits=configuration.limits,
        router=router,
        answer_languages=configuration.metrics.answer_languages,
    )


def _routed(router: Router, policy: RoutingPolicy, section: str) -> Router:
    """``router`` with another policy. Raises ConfigurationError if the checkpoint cannot follow it."""
    try:
        return router.with_policy(policy)
    except PolicyError as error:
        raise ConfigurationError(f"{section}.{error}") from error
