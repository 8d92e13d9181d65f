"""Checks a JSON value against a schema of Docker's Swagger 2.0 files.

The files are written by hand and leave Go's conventions unsaid, so these are built in: a nil slice, map or
pointer to a struct is `null`, so `null` is accepted where an array or object is declared unless the schema says
`x-nullable: false`; a number, string or boolean may be `null` only where the schema says so.
"""

import re

DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


class Finding:
    """One place where an answer and its schema disagree."""

    def __init__(self, kind, pointer, detail):
        self.kind = kind
        self.pointer = pointer
        self.detail = detail

    def __str__(self):
        return f"{self.kind} at {self.pointer or '/'}: {self.detail}"


class Checker:
    """Schemas of one document, resolved by reference."""

    def __init__(self, document):
        self.document = document

    def resolve(self, schema):
        """Follow `$ref`."""
        while "$ref" in schema:
            node = self.document
            for part in schema["$ref"].lstrip("#/").split("/"):
                node = node[part]
            schema = node
        return schema

    def flatten(self, schema):
        """Merge `allOf` into one object schema."""
        schema = self.resolve(schema)
        if "allOf" not in schema:
            return schema
        parts = [self.flatten(part) for part in schema["allOf"]]
        if not any("properties" in part or part.get("type") == "object" for part in parts):
            return {**parts[0], **{k: v for k, v in schema.items() if k == "x-nullable"}}
        merged = {"type": "object", "properties": {}, "required": []}
        for part in parts:
            merged["properties"].update(part.get("properties", {}))
            merged["required"] += part.get("required", [])
            for key in part.keys() - {"properties", "required"}:
                merged.setdefault(key, part[key])
        if "x-nullable" in schema:
            merged["x-nullable"] = schema["x-nullable"]
        return merged

    def check(self, schema, value, pointer=""):
        """Yield findings for `value`."""
        nullable = schema.get("x-nullable")
        schema = self.flatten(schema)
        nullable = schema.get("x-nullable") if nullable is None else nullable
        kind = schema.get("type") or ("object" if "properties" in schema else None)
        if value is None:
            if nullable is True or (nullable is None and kind in ("array", "object", None)):
                return
            yield Finding("null", pointer, f"null where {kind} is declared")
            return
        if kind == "object":
            yield from self._object(schema, value, pointer)
        elif kind == "array":
            if not isinstance(value, list):
                yield Finding("type", pointer, f"{value!r} where an array is declared")
                return
            for index, item in enumerate(value):
                yield from self.check(schema.get("items", {}), item, f"{pointer}/{index}")
        elif kind is not None:
            yield from self._scalar(schema, kind, value, pointer)

    def _object(self, schema, value, pointer):
        if not isinstance(value, dict):
            yield Finding("type", pointer, f"{value!r} where an object is declared")
            return
        properties = schema.get("properties", {})
        additional = schema.get("additionalProperties")
        for name in schema.get("required", []):
            if name not in value:
                yield Finding("missing", f"{pointer}/{name}", "required, but absent")
        for name, item in value.items():
            where = f"{pointer}/{name}"
            if name in properties:
                yield from self.check(properties[name], item, where)
            elif isinstance(additional, dict):
                yield from self.check(additional, item, where)
            elif properties and additional is not True:
                yield Finding("unknown", where, "a field the schema does not have")

    def _scalar(self, schema, kind, value, pointer):
        good = {
            "string": isinstance(value, str),
            "integer": isinstance(value, int) and not isinstance(value, bool),
            "number": isinstance(value, (int, float)) and not isinstance(value, bool),
            "boolean": isinstance(value, bool),
            # The file of 1.25 declares a list of types here and there, which is no Swagger.
        }.get(kind if isinstance(kind, str) else "", True)
        if not good:
            yield Finding("type", pointer, f"{value!r} where {kind} is declared")
            return
        if "enum" in schema and value not in schema["enum"]:
            yield Finding("enum", pointer, f"{value!r} is none of {schema['enum']}")
        if schema.get("format") == "dateTime" and not DATE_TIME.match(value):
            yield Finding("format", pointer, f"{value!r} is not a time")
