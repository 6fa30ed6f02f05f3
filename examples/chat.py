"""Users and their messages, on every node alike, with counts in each node's log every ten seconds.

Three shells, one for each node::

    quorate node --node-id 1 --port 8080 --peers 8081,8082 --data-dir data/node1 --app examples.chat:app \\
        --forward-writes --statistics-seconds 10
    quorate node --node-id 2 --port 8081 --peers 8080,8082 --data-dir data/node2 --app examples.chat:app \\
        --forward-writes --statistics-seconds 10
    quorate node --node-id 3 --port 8082 --peers 8080,8081 --data-dir data/node3 --app examples.chat:app \\
        --forward-writes --statistics-seconds 10

Watch what happens on one of them, and write to another::

    curl -N localhost:8082/api/_watch
    curl localhost:8080/api/users -H 'content-type: application/json' -d '{"name": "ann", "email": "ann@example.org"}'
"""

from __future__ import annotations

from uuid import UUID

from quorate import App, Model, field


class User(Model):
    id: UUID = field(primary_key=True)
    name: str = field(unique=True, validate="non_empty", max_length=64)
    email: str = field(pattern=r"^[^@\s]+@[^@\s]+$", max_length=254)


class Message(Model):
    id: UUID = field(primary_key=True)
    user_id: UUID = field(foreign_key=User, on_delete="cascade")
    text: str = field(validate="non_empty", max_length=2000)


app = App(models=[User, Message], title="Chat")
