"""Looking at and changing the members of a running cluster, through whichever of its nodes answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from quorate.errors import MembershipConflict, NotApplied, OutcomeUnknown, QuorateError
from quorate.rest.http_client import HttpClient, NotSent, RequestFailed, Response, Unanswered

ASK_SECONDS = 10.0
"""For one node's answer: longer than a node takes to find out that there is no quorum."""
PATIENCE_SECONDS = 10.0
"""How long it is tried again while the cluster says that it has no leader at the moment."""
RETRY_SECONDS = 0.2
LOOK_SECONDS = 3.0
"""How long a node is looked for that knows of a change that was made."""
CAUGHT_UP_ENTRIES = 200
"""A learner that lacks no more than this is up to date."""


class ClusterUnreachable(QuorateError):
    """None of the nodes answers."""


class Refused(QuorateError):
    """The cluster will not do it; the message says why."""


class WaitedInVain(QuorateError):
    """It was done, but has not had its effect within the time that was given."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a member still lacks to be what it was added for."""

    text: str
    lag: int | None = None


class ClusterMembers:
    """``async with ClusterMembers(addresses) as members``: asks the nodes in order, and stays with who answers.

    Every method raises :class:`ClusterUnreachable`, :class:`Refused`, :class:`MembershipConflict`,
    :class:`NotApplied` for what did not happen, and :class:`OutcomeUnknown` for what may have.
    """

    def __init__(self, addresses: Sequence[str], *, admin_token: str | None = None) -> None:
        """``admin_token``: what the nodes ask for from who changes something, if they do."""
        self._addresses = list(addresses)
        self._right = {} if admin_token is None else {"authorization": f"Bearer {admin_token}"}
        self._http = HttpClient(timeout=ASK_SECONDS)

    async def look(self) -> dict[str, Any]:
        """``GET /cluster/members``, of the leader if it can be reached: it knows how far the others are."""
        report = await self._ask("GET", "/cluster/members")
        leader = report.get("leader_address")
        if leader and leader != self._addresses[0]:
            try:
                response = await self._http.get(f"http://{leader}/cluster/members")
                if response.status == 200:
                    return _document(response)
            except RequestFailed:
                pass  # what the follower said is true as well
        return report

    async def change(self, method: str, path: str, body: Any = None, *, expect: int | None = None) -> dict[str, Any]:
        """Do something below ``/cluster``; ``expect`` is the configuration that it is meant for."""
        headers = self._right | ({} if expect is None else {"if-match": f'"{expect}"'})
        return await self._ask(method, f"/cluster/{path}", body, headers)

    async def change_and_look(
        self, method: str, path: str, body: Any = None, *, expect: int | None = None
    ) -> dict[str, Any]:
        """:meth:`change`, and the members afterwards, as the leader sees them if it can be reached."""
        changed = await self.change(method, path, body, expect=expect)
        index: int = changed["changed_by"]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOOK_SECONDS
        while loop.time() < deadline:
            with suppress(QuorateError):
                seen = await self.look()
                if seen["configuration_index"] >= index and not seen["joint"]:
                    return {"changed_by": index, **seen}
            # Who was removed may not have heard of it: it is asked last from now on.
            self._addresses.append(self._addresses.pop(0))
            await asyncio.sleep(RETRY_SECONDS)
        return changed

    async def wait_for(
        self, node_id: int, seconds: float, *, role: str, progress: Callable[[Waiting], None]
    ) -> dict[str, Any]:
        """Return the members once ``node_id`` is a ``role`` that has caught up. Raises :class:`WaitedInVain`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        waiting = Waiting("nothing is known of it")
        while True:
            try:
                report = await self.look()
                found = still_waiting(report, node_id, role)
                if found is None:
                    return report
                waiting = found
                progress(waiting)
            except (ClusterUnreachable, NotApplied, OutcomeUnknown) as error:
                progress(Waiting(str(error)))
            if loop.time() >= deadline:
                raise WaitedInVain(
                    f"node {node_id} is added, and the rest happens by itself; but after {seconds:g} s {waiting.text}"
                )
            await asyncio.sleep(RETRY_SECONDS)

    # -- asking ------------------------------------------------------------------------------------------

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE_SECONDS
        while True:
            response = await self._first_answer(method, path, body, headers or {})
            if response.status != 503:
                return _outcome(response)
            if loop.time() >= deadline:
                raise NotApplied(_told(response))
            self._addresses.append(self._addresses.pop(0))
            await asyncio.sleep(RETRY_SECONDS)

    async def _first_answer(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Response:
        """What the first node says that can be reached; it is asked first from then on."""
        content = None if body is None else json.dumps(body).encode()
        failures = []
        for address in list(self._addresses):
            try:
                response = await self._http.request(method, f"http://{address}{path}", content, dict(headers))
            except NotSent as error:
                failures.append(str(error))
                continue
            except Unanswered as error:
                if method != "GET":
                    raise OutcomeUnknown(
                        f"{error}: it may have been done, or still may; look with 'quorate members list'"
                    ) from None
                failures.append(str(error))
                continue
            self._addresses.remove(address)
            self._addresses.insert(0, address)
            return response
        raise ClusterUnreachable("no node of the cluster answers: " + "; ".join(failures))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()


def still_waiting(report: Mapping[str, Any], node_id: int, role: str) -> Waiting | None:
    """What is missing until ``node_id`` is a ``role`` that is up to date; ``None`` if it is."""
    member = next((each for each in report["members"] if each["node_id"] == node_id), None)
    if member is None:
        return Waiting("it is not a member")
    lag = member.get("lag")
    if not member["connected"]:
        text = "it was not reached: is it running, at that address, with --join?"
    elif member.get("snapshot"):
        text = "it is being brought a snapshot"
    elif member["role"] != role:
        text = f"it is still a {member['role']}" + ("" if lag is None else f" and lacks {lag} entries")
    elif member.get("promote"):
        text = "it does not vote yet" + ("" if lag is None else f" and lacks {lag} entries")
    elif report["joint"] or not report["committed"]:
        text = "the change is not committed"
    elif lag is None or lag > CAUGHT_UP_ENTRIES:
        text = "it is not up to date" if lag is None else f"it lacks {lag} entries"
    else:
        return None
    return Waiting(text, lag)


def _document(response: Response) -> dict[str, Any]:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refused(f"{response.url} is no node of a cluster: {response.status} {response.text[:80]!r}")
    return document


def _told(response: Response) -> str:
    try:
        problem = response.json()
        return str(problem.get("detail") or problem.get("title") or response.status)
    except (ValueError, AttributeError):
        return f"{response.url} answered {response.status}: {response.text[:200]}"


def _outcome(response: Response) -> dict[str, Any]:
    match response.status:
        case 200 | 201:
            return _document(response)
        case 409 | 412:
            raise MembershipConflict(_told(response))
        case 504:
            raise OutcomeUnknown(f"{_told(response)}; look with 'quorate members list'")
        case _:
            raise Refused(_told(response))
