"""The tasks of a cluster, for programs that run no node of it.

::

    tasks_client  what can be asked; the same as a broker, over HTTP
    nodes         asks one node after the other until one answers, and says what became of a request if none does
    problems      refusals as they come over HTTP, back as the errors that they were
    bodies        what requests say
"""

from quorate.tasks.client.problems import OtherRefusal
from quorate.tasks.client.tasks_client import TasksClient

__all__ = ["OtherRefusal", "TasksClient"]
