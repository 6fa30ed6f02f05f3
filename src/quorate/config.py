"""Every setting, with its default, its unit and its bounds: one place for flags, ``QUORATE_…`` variables and files.

:class:`RaftConfig` is what a program that embeds a node gives it; :class:`NodeConfig` is what ``quorate node`` takes
and adds the HTTP side. Both refuse unknown names and values out of range with a :class:`ConfigError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from quorate.config_mistakes import ALIASES, check_fixed, flag, unknown_variables, variable, wrong_settings
from quorate.errors import ConfigError
from quorate.logs import LogFormat, LogSettings
from quorate.raft.config import MIB, CoreConfig
from quorate.storage.settings import PROFILES, StorageProfile, StorageSettings

T = TypeVar("T", bound=BaseModel)

NODE_ID_MAX = 999_999_999
"""Ids are from 1 to this: nine digits, as an address with an id allows."""
TICK_MS = 10
"""The core's clock; timings are rounded to it."""

EVENT_LETTERS = "KEAg$lshzxetd"
"""Redis' letters for kinds of changes that are known here."""
OTHER_VARIABLES = ("QUORATE_CLUSTER", "QUORATE_NEMESIS_ISOLATED")
"""What other commands than ``quorate node`` read."""

_PEER = re.compile(r"(?:(?P<id>\d{1,9})@)?(?:(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):)?(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Peer:
    """A member's address, and its id where it was given."""

    address: str
    node_id: int | None = None


def parse_peer(text: str, default_host: str = "127.0.0.1") -> Peer:
    """``host:port``, a bare ``port`` (on ``default_host``) or ``id@host:port``. Raises :class:`ConfigError`."""
    match = _PEER.fullmatch(text.strip())
    if match is None or not 0 < int(match["port"]) < 65536:
        raise ConfigError(f"{text!r} is no peer: give host:port, a port, or id@host:port")
    host = match["host"] or default_host
    host = "127.0.0.1" if host == "localhost" else host
    return Peer(f"{host}:{match['port']}", int(match["id"]) if match["id"] else None)


def id_of_host(name: str) -> int:
    """The id of the node on a host whose name ends with ``-`` and a number from 0, as those of a StatefulSet's pods do.

    ``quorate-0`` has node 1. Raises :class:`ValueError`.
    """
    match = re.fullmatch(r".*-(\d{1,9})", name.partition(".")[0])
    if match is None:
        raise ValueError(f"the host's name, {name!r}, does not end with - and a number, so give {flag('node_id')}")
    return int(match[1]) + 1


class Preset(StrEnum):
    """Named timings: what kind of network the nodes share."""

    LAN = "lan"
    WAN = "wan"
    CONSERVATIVE = "conservative"


TIMINGS_MS: dict[Preset, tuple[int, int, int]] = {
    Preset.LAN: (50, 150, 300),
    Preset.WAN: (200, 1000, 2000),
    Preset.CONSERVATIVE: (300, 1000, 2000),
}
"""(heartbeat interval, shortest and longest election timeout) of each preset, in milliseconds."""


def _trusted(value: object) -> object:
    if value == "byzantine":
        raise ValueError(
            "cannot be 'byzantine': nodes may crash, be slow or be cut off, but those of one cluster trust each other"
        )
    return value


PeerTransport = Literal["tcp", "websocket"]
"""How a node dials its peers. Every node accepts both, whatever it dials."""

FaultTolerance = Annotated[Literal["crash"], BeforeValidator(_trusted)]
"""What nodes may do without harm: stop at any moment, and come back with what they had stored."""


def _in_lower_case(value: object) -> object:
    return value.lower() if type(value) is str else value


class StorageConfig(BaseModel):
    """How a node stores its log: a profile, and over it each setting alone that is given. See docs/storage.md."""

    storage_profile: Annotated[StorageProfile, BeforeValidator(_in_lower_case)] = StorageProfile.DURABLE
    """What a write is worth once it is acknowledged: see :data:`~quorate.storage.settings.PROFILES`."""
    enable_binary: bool | None = None
    """See :class:`~quorate.storage.settings.StorageSettings` for this and the rest."""
    fsync_on_append: bool | None = None
    flush_interval_ms: int | None = Field(default=None, ge=1, le=60_000)
    buffer_size: int | None = Field(default=None, ge=4096, le=1024 * MIB)
    max_events_buffer: int | None = Field(default=None, ge=1, le=10_000_000)
    event_max_batch: int | None = Field(default=None, ge=1, le=1_000_000)
    opt_persist: bool | None = None
    snapshot_threshold: int | None = Field(default=None, ge=1)
    snapshot_interval_ms: int | None = Field(default=None, ge=100)

    @model_validator(mode="after")
    def _check_storage(self) -> Self:
        _ = self.storage
        return self

    @property
    def storage(self) -> StorageSettings:
        """What all of this amounts to. Raises :class:`ConfigError` for settings that contradict each other."""
        given = {each.name: getattr(self, each.name) for each in fields(StorageSettings)}
        return replace(
            PROFILES[self.storage_profile], **{name: value for name, value in given.items() if value is not None}
        )


class RaftConfig(StorageConfig):
    """One node of one cluster.

    ``cluster_nodes`` names every member, this node included, as ``id@host:port``; or without any ids, and then
    the first is node 1, the second node 2, and so on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_id: int = Field(ge=1, le=NODE_ID_MAX)
    cluster_nodes: tuple[str, ...] = Field(min_length=1)
    data_dir: Path
    cluster_id: str = Field(default="quorate", min_length=1, max_length=128)
    """Nodes of another cluster are refused, and so is its data."""
    heartbeat_interval_ms: int = Field(default=50, ge=TICK_MS)
    """A leader is heard of this often."""
    election_timeout_min_ms: int = Field(default=150, ge=2 * TICK_MS)
    """Nobody campaigns sooner than this after hearing of a leader."""
    election_timeout_ms: int = Field(default=300, ge=3 * TICK_MS)
    """The longest election timeout; each one is drawn between the minimum and this."""
    max_payload_entries: int = Field(default=100, ge=1, le=100_000)
    """Entries in one AppendEntries message."""
    max_inflight_requests: int = Field(default=64, ge=1, le=10_000)
    """AppendEntries messages under way to one peer."""
    max_command_bytes: int = Field(default=16 * MIB, ge=1024, le=48 * MIB)
    """The largest command one proposal may carry."""
    max_pending_proposals: int = Field(default=20_000, ge=1)
    """Proposals that wait for an outcome at one time; more are refused."""
    proposal_timeout_ms: int = Field(default=5_000, ge=1)
    """How long a proposal may stay without an outcome before it is called unknown."""
    lease_reads: bool = False
    """Strong reads on the leader's lease: faster, but only as right as the nodes' clocks run alike."""
    snapshot_trailing_entries: int = Field(default=10_000, ge=0)
    """Applied entries kept in the log, so that a peer that lags a little needs no snapshot."""
    snapshot_bytes: int = Field(default=64 * MIB, ge=4096)
    """The log is also cut when it has grown to this size, then without regard to those that lag."""
    segment_bytes: int = Field(default=16 * MIB, ge=4096)
    """The size of one file of the log."""
    fault_tolerance: FaultTolerance = "crash"
    """Which failures are survived: crashes, not nodes that lie."""
    peer_transport: PeerTransport = "tcp"
    """How this node dials its peers: by TCP alone, or by WebSockets over it, which pass through HTTP proxies."""
    join: bool = False
    """Begin as nobody: wait until a member of the cluster adds this node. Without data of its own only."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.core_config()
        if self.node_id not in [peer.node_id for peer in self.members]:
            raise ConfigError(f"cluster_nodes does not name this node, {self.node_id}")
        return self

    @property
    def members(self) -> tuple[Peer, ...]:
        """The parsed ``cluster_nodes``; ids that were left out of some are ``None``, to be learned from the peers."""
        peers = [parse_peer(text) for text in self.cluster_nodes]
        if all(peer.node_id is None for peer in peers):
            peers = [Peer(peer.address, number) for number, peer in enumerate(peers, start=1)]
        known = [peer.node_id for peer in peers if peer.node_id is not None]
        for what, values in (("address", [peer.address for peer in peers]), ("id", known)):
            if len(set(values)) < len(values):
                raise ConfigError(f"two of the cluster's nodes have the same {what}: {', '.join(self.cluster_nodes)}")
        return tuple(peers)

    @property
    def address(self) -> str:
        """Where the other members reach this node."""
        return next(peer.address for peer in self.members if peer.node_id == self.node_id)

    def core_config(self) -> CoreConfig:
        """The core's settings, in ticks."""
        return CoreConfig(
            node_id=self.node_id,
            heartbeat_ticks=round(self.heartbeat_interval_ms / TICK_MS),
            election_ticks_min=round(self.election_timeout_min_ms / TICK_MS),
            election_ticks_max=round(self.election_timeout_ms / TICK_MS),
            append_entries_max=self.max_payload_entries,
            inflight_appends_max=self.max_inflight_requests,
            lease_reads=self.lease_reads,
        )


def _split_commas(value: object) -> object:
    return tuple(part for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _not_empty(value: object) -> object:
    if value == "":
        raise ValueError("must not be empty")
    return value


def _checked_peer(text: str) -> str:
    try:
        parse_peer(text)
    except ConfigError as error:
        raise ValueError(f"is wrong: {error}") from None
    return text


def _checked_events(letters: str) -> str:
    if not set(letters) <= set(EVENT_LETTERS):
        raise ValueError(f"may have the letters {EVENT_LETTERS}, not {letters!r}")
    return letters


class NodeConfig(StorageConfig):
    """What ``quorate node`` is told: see :func:`load_node_config` for where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_id: int = Field(ge=1, le=NODE_ID_MAX)
    node_id_from_hostname: bool = False
    """Without a ``node_id``, it is the number at the end of the host's name, and one: see :func:`id_of_host`."""
    host: str = "127.0.0.1"
    """The address it listens on, and announces unless ``advertise`` says otherwise."""
    port: int = Field(default=8080, ge=1, le=65535)
    advertise: Annotated[str, AfterValidator(_checked_peer)] | None = None
    """The ``host:port`` under which peers and clients reach this node."""
    peers: Annotated[tuple[Annotated[str, AfterValidator(_checked_peer)], ...], BeforeValidator(_split_commas)] = ()
    """The other members: host:port, a bare port, or id@host:port. With ids, a list of all members will do."""
    data_dir: Annotated[Path, BeforeValidator(_not_empty)] = Path("data")
    app: str | None = None
    """The declared models to serve, as ``package.module:attribute``."""
    cluster_id: str = Field(default="quorate", min_length=1, max_length=128)
    preset: Annotated[Preset, BeforeValidator(_in_lower_case)] = Preset.LAN
    """The timings: see :data:`TIMINGS_MS`."""
    join: bool = False
    """Wait to be added to a running cluster, instead of beginning a new one with the peers."""
    peer_transport: PeerTransport = "tcp"
    """See :attr:`RaftConfig.peer_transport`."""
    fault_tolerance: FaultTolerance = "crash"
    """See :attr:`RaftConfig.fault_tolerance`."""
    forward_writes: bool = False
    """Pass a write on to the leader instead of redirecting the client."""
    lease_reads: bool = False
    """See :attr:`RaftConfig.lease_reads`."""
    admin_sql: bool = False
    """Serve ``POST /admin/sql``: whoever reaches the port may read all but hidden fields, in SQL."""
    allow_faults: bool = False
    """Serve ``/admin/faults``, by which the node can be cut off, paused or ended: for rehearsals (docs/chaos.md)."""
    admin_token: SecretStr | None = Field(default=None, min_length=1)
    """What requests that administer the cluster have to show; without one, whoever reaches the port may."""
    admin_token_file: Annotated[Path, BeforeValidator(_not_empty)] | None = None
    """A file with that, and the end of a line at most behind it."""
    max_body_bytes: int = Field(default=16 * MIB, ge=1024, le=32 * MIB)
    """The largest HTTP request body."""
    resp_port: int | None = Field(default=None, ge=1, le=65535)
    """A port for the Redis protocol alone, which is spoken on ``port`` as well."""
    kv_password: SecretStr | None = Field(default=None, min_length=1)
    """What clients of the Redis protocol have to say first (AUTH)."""
    maxmemory: ByteSize = Field(default=ByteSize(0), ge=0)
    """Bytes of keys and values beyond which commands that take more are refused; 0: no bound."""
    notify_keyspace_events: Annotated[str, AfterValidator(_checked_events)] = ""
    """Which changes of keys this node tells its subscribers of, by Redis' letters; none by default."""
    statistics_seconds: float = Field(default=0, ge=0, le=86_400)
    """Write a block of statistics into the log this often; 0: never."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_in_lower_case)] = "info"
    log_format: Annotated[LogFormat, BeforeValidator(_in_lower_case)] = LogFormat.CONSOLE
    """Lines for people, or a JSON object in each."""
    log_file: Annotated[Path, BeforeValidator(_not_empty)] | None = None
    """Where the log goes instead of standard error."""
    log_rotate_mb: int = Field(default=100, ge=0, le=100_000)
    """A log file of so many megabytes is set aside and a new one begun; 0: never."""
    log_backups: int = Field(default=5, ge=1, le=1_000)
    """So many log files that were set aside are kept."""

    @model_validator(mode="before")
    @classmethod
    def _take_id_from_hostname(cls, given: dict[str, Any]) -> dict[str, Any]:
        wanted = str(given.get("node_id_from_hostname", False)).strip().lower() in ("true", "1", "yes", "on")
        return {**given, "node_id": id_of_host(gethostname())} if wanted and "node_id" not in given else given

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        if self.advertise is None and self.host in ("0.0.0.0", "::", "[::]"):
            raise ValueError(f"others cannot reach a node at {self.host}: say with {flag('advertise')} where they can")
        return self

    @property
    def log(self) -> LogSettings:
        """Where the log goes, and how."""
        return LogSettings(
            level=self.log_level,
            format=self.log_format,
            file=self.log_file,
            rotate_mb=self.log_rotate_mb,
            backups=self.log_backups,
        )

    @property
    def address(self) -> str:
        """Where peers and clients reach this node."""
        return parse_peer(self.advertise or f"{self.host}:{self.port}").address

    @property
    def admin_secret(self) -> str | None:
        """The admin token, from wherever it is. Raises :class:`ConfigError` if it cannot be had."""
        return admin_token_of(self.admin_token.get_secret_value() if self.admin_token else None, self.admin_token_file)

    def raft_config(self) -> RaftConfig:
        """The part that concerns consensus."""
        heartbeat_ms, election_min_ms, election_ms = TIMINGS_MS[self.preset]
        host = self.address.rpartition(":")[0]
        itself = Peer(self.address, self.node_id)
        peers = [peer for text in self.peers if (peer := parse_peer(text, host)) != itself]
        others = [f"{peer.node_id}@{peer.address}" if peer.node_id else peer.address for peer in peers]
        return build(
            RaftConfig,
            node_id=self.node_id,
            cluster_nodes=(f"{self.node_id}@{self.address}", *others),
            data_dir=self.data_dir,
            cluster_id=self.cluster_id,
            heartbeat_interval_ms=heartbeat_ms,
            election_timeout_min_ms=election_min_ms,
            election_timeout_ms=election_ms,
            lease_reads=self.lease_reads,
            peer_transport=self.peer_transport,
            join=self.join,
            **{name: getattr(self, name) for name in StorageConfig.model_fields},
        )


def admin_token_of(token: str | None, file: Path | None) -> str | None:
    """The admin token as it is given, or as it stands in ``file``. Raises :class:`ConfigError` for no good one."""
    if token and file is not None:
        raise ConfigError(f"give {variable('admin_token')} or {flag('admin_token_file')}, not both")
    if file is not None:
        try:
            token = file.read_text().removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"cannot read the admin token in {file}: {reason}") from error
        if not token:
            raise ConfigError(f"there is no admin token in {file}: it is empty")
    if token and not (token.isascii() and token.isprintable() and token == token.strip()):
        raise ConfigError("an admin token is of printable ASCII characters, with no space around them")
    return token or None


def build(kind: type[T], /, **values: Any) -> T:
    """``kind(**values)``. Raises :class:`ConfigError` with one plain line for each mistake."""
    return _built(kind, values, lambda name: name)


def _built(kind: type[T], values: Mapping[str, Any], named: Callable[[str], str]) -> T:
    try:
        return kind(**values)
    except ValidationError as error:
        raise wrong_settings(error, kind, named) from error


def load_node_config(file: Path | None, flags: Mapping[str, Any]) -> NodeConfig:
    """The settings from all places: flags, then ``QUORATE_…`` variables, then those in :data:`ALIASES`, then the file.

    Raises :class:`ConfigError` naming what is wrong.
    """
    written = {} if file is None else _written_in(file)
    check_fixed(os.environ)
    environment = {name.upper(): value for name, value in os.environ.items()}
    aliases = {name: os.environ[alias] for name, alias in ALIASES.items() if alias in os.environ}
    variables = {name: environment[variable(name)] for name in NodeConfig.model_fields if variable(name) in environment}

    def named(name: str) -> str:
        if name in flags:
            return flag(name)
        if name in aliases and name not in variables:
            return ALIASES[name]
        return variable(name) if file is None or name in variables else f"{file}: {name}"

    return _built(NodeConfig, {**written, **aliases, **variables, **flags}, named)


def _written_in(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error


def unknown_settings(environment: Mapping[str, str]) -> list[str]:
    """What ``quorate node`` says of the ``QUORATE_…`` variables that nothing reads: a line for each."""
    return unknown_variables(environment, [*map(variable, NodeConfig.model_fields), *OTHER_VARIABLES])
