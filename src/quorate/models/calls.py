"""What a domain event makes of an object, when it is applied."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError

from quorate.machine.contract import ApplyContext
from quorate.models.domain_events import CONTEXT
from quorate.models.errors import MESSAGE_CHARACTERS_MAX, Invalid, RuleBroken, SchemaBehind
from quorate.models.merge import plain_errors
from quorate.models.store.schema import ModelSchema, Row

if TYPE_CHECKING:
    from quorate.models.model import Model

log = logging.getLogger(__name__)


def called_row(schema: ModelSchema, row: Row, name: str, arguments: str, context: ApplyContext) -> Row:
    """The row that the event makes of ``row``. Raises :class:`RuleBroken`."""
    method = schema.events.get(name)
    if method is None:
        raise SchemaBehind(f"entry {context.index} names the event {schema.name}.{name}, which is not declared here")
    try:
        given = method.arguments.__pydantic_validator__.validate_json(arguments).__dict__
    except ValidationError as error:  # another version of the declaration let it through
        raise Invalid.of(schema.name, plain_errors(error)) from None
    instance = schema.load(row)
    try:
        method.function(instance, **given, **({CONTEXT: context} if method.takes_context else {}))
        _check_not_local(schema, instance)
        checked = schema.model.__pydantic_validator__.validate_python(dict(instance.__dict__))
    except ValidationError as error:
        found = plain_errors(error, schema.hidden_names)
        message = "; ".join(f"{field}: {text}" if field else text for field, _, text in found)
        raise RuleBroken(schema.name, name, message) from None
    except (ValueError, AssertionError) as error:
        message = str(error)[:MESSAGE_CHARACTERS_MAX] or f"{name} is refused"
        raise RuleBroken(schema.name, name, message) from None
    except MemoryError:
        raise  # no refusal: other nodes may have enough
    except Exception as error:  # what it says may differ between nodes
        log.exception("entry %d: %s.%s failed", context.index, schema.name, name)
        raise RuleBroken(schema.name, name, f"{name} failed: {type(error).__name__}") from None
    return schema.encode(checked)


def _check_not_local(schema: ModelSchema, instance: Model) -> None:
    """Raises :class:`ValueError` if the event has set what each node has a value of its own for."""
    before = schema.load(schema.defaults) if schema.local_columns else instance
    for column in schema.local_columns:
        if getattr(instance, column.name) != getattr(before, column.name):
            raise ValueError(f"{column.name} is not replicated: an event cannot set it")
