"""A state machine of your own on three nodes in one process, one of which is killed."""

import asyncio

from quorate import ApplyContext, StateMachine
from quorate.testing import TestCluster


class Counter(StateMachine):
    value = 0

    def apply(self, command: bytes, context: ApplyContext) -> int:
        self.value += int(command)
        return self.value

    def snapshot(self) -> bytes:
        return str(self.value).encode()

    def restore(self, data: bytes) -> None:
        self.value = int(data)


async def main() -> None:
    async with TestCluster(3, machine=Counter) as cluster:
        leader = await cluster.wait_for_leader()
        print(await leader.propose(b"41"))  # Applied(index=2, term=1, result=41)
        await cluster.stop_leader()
        leader = await cluster.wait_for_leader()
        print(await leader.propose(b"1"))


asyncio.run(main())
