"""``quorate recover``: after the loss of a majority, make a node that is left a cluster of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quorate.errors import QuorateError
from quorate.ops.inspect.entries import member_text
from quorate.ops.recover import Recovery, RecoveryPlan

_WARNING = """\
THIS GIVES UP THE OTHER MEMBERS FOR EVER. Do it only if a majority of them is lost and will not come back.

{what_is_there}

What it means:
  - Writes that the others acknowledged and that did not reach this node are LOST. Entries up to {committed} were
    committed for certain. {uncertain}
  - {dropped}
  - The cluster gets the name {new_cluster_id!r}: this node, and those added to it, must be started with it.
"""
_DROPPED = """\
Given up: {who}.
    They are no members any more. If they come back they are refused, but they can form the old cluster again among
    themselves: make sure that they never start with their data, and that no client can reach them."""
_REPAIRING = """\
  - This node is IN REPAIR: it had lost data that it had voted with ({reason}). What it holds may be much older than
    what the others acknowledged, or be incomplete. The marker that says so is removed.
"""
_LEARNER = """\
  - This node is a LEARNER, which no write had to wait for: it may lag far behind what was acknowledged.
"""
_NO_MEMBER = """\
  - This node is NO MEMBER by the last configuration that it knows: it was removed, or never added. The cluster has
    gone on without it.
"""
_DONE = """\
Recovered. The record of it is {record}. Now

  quorate node --node-id {node_id} --port {port} --cluster-id {cluster_id} --data-dir {data_dir} ...

and for each new node, with an empty data directory:

  quorate node --node-id N --port PORT --cluster-id {cluster_id} --peers {node_id}@{address} --join --data-dir DIR ...
  quorate members add N@HOST:PORT --cluster {address}
"""


class NotConfirmed(QuorateError):
    """Nothing was done."""


def recover(
    data_dir: Annotated[Path, typer.Option(help="The data directory of the node that is left; the node is stopped.")],
    force_new_cluster: Annotated[
        bool, typer.Option("--force-new-cluster", help="Do it. Without this, only what it would mean is told.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    discard_repair_marker: Annotated[
        bool, typer.Option("--discard-repair-marker", help="Even if this node had lost data itself.")
    ] = False,
    new_cluster_id: Annotated[
        str | None, typer.Option(help="The new cluster's name.", show_default="the old one and a random suffix")
    ] = None,
) -> None:
    """After the loss of a majority: make this node a cluster of its own, with all that is in its log."""
    with Recovery(data_dir, new_cluster_id=new_cluster_id, discard_repair_marker=discard_repair_marker) as recovery:
        plan = recovery.plan
        typer.echo(_told(plan))
        if not force_new_cluster:
            raise NotConfirmed("nothing was changed: it takes --force-new-cluster to do it")
        if not yes:
            _confirm(plan.node_id)
        record = recovery.carry_out()
    typer.echo(
        _DONE.format(
            record=record,
            node_id=plan.node_id,
            port=plan.address.rpartition(":")[2],
            address=plan.address,
            cluster_id=plan.new_cluster_id,
            data_dir=data_dir,
        )
    )


def _told(plan: RecoveryPlan) -> str:
    rest = range(plan.committed_index + 1, plan.last_index + 1)
    uncertain = (
        f"{_entries(rest)} may never have been, but will take effect: what is in the log is kept."
        if rest
        else "There are no others in its log."
    )
    who = ", ".join(member_text(member) for member in plan.dropped)
    dropped = _DROPPED.format(who=who) if who else "There are no other members in its configuration."
    what_is_there = (
        f"Node {plan.node_id} at {plan.address} of cluster {plan.cluster_id!r}, in {plan.data_dir}:\n"
        f"  its log ends with entry {plan.last_index} of term {plan.last_term}; it knows of term {plan.term}"
    )
    text = _WARNING.format(
        what_is_there=what_is_there,
        committed=plan.committed_index,
        uncertain=uncertain,
        dropped=dropped,
        new_cluster_id=plan.new_cluster_id,
    )
    text += {"learner": _LEARNER, None: _NO_MEMBER}.get(plan.role, "")
    return text + (_REPAIRING.format(reason=plan.repairing) if plan.repairing is not None else "")


def _entries(indexes: range) -> str:
    return f"Entries {indexes[0]} to {indexes[-1]}" if len(indexes) > 1 else f"Entry {indexes[0]}"


def _confirm(node_id: int) -> None:
    """Have the node's id typed. Raises :class:`NotConfirmed` if it is not."""
    try:
        typed = input(f"Type the id of the node ({node_id}) to go on: ")
    except EOFError:
        typer.echo()
        typed = ""
    if typed.strip() != str(node_id):
        raise NotConfirmed("nothing was changed: it was not confirmed")
