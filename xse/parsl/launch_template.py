"""Launch command templates: known fields are filled in, everything else in braces stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping


def fill(template: str, fields: Mapping[str, object]) -> str:
    """Replace ``{name}`` and ``{{name}}`` by the field of that name. A shell's ``${name}``, and braces around anything
    that is no field, are left alone. ``None`` never travels as text: it is an empty one."""

    def value(match: re.Match[str]) -> str:
        name = match["twice"] or match["once"]
        if name not in fields:
            return match[0]
        found = fields[name]
        return "" if found is None else str(found)

    return re.sub(r"(?<!\$)(?:\{\{(?P<twice>\w+)\}\}|\{(?P<once>\w+)\})", value, template)
