"""Changes of some fields: a model with every field optional."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model

from quorate.models.annotations import annotated


def patch_model(name: str, model: type[BaseModel]) -> type[BaseModel]:
    """``model`` with every field optional. Given fields are checked as ever."""
    fields: dict[str, Any] = {}
    for field_name, info in model.model_fields.items():
        fields[field_name] = (annotated(info), Field(default=None, validate_default=False))
    config = ConfigDict(**{**model.model_config, "defer_build": False})
    patch: type[BaseModel] = create_model(f"{name}Patch", __config__=config, **fields)
    return patch
