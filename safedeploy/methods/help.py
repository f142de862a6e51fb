"""What `compress --method NAME --defence NAME --help-method` tells: what each is, its source, and its options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from typing import Any

from safedeploy.errors import unknown
from safedeploy.methods.base import Options
from safedeploy.methods.registry import DEFENCES, METHODS, defence_options, method_options

_BOUNDS = {
    "exclusiveMinimum": "above {:g}",
    "minimum": "at least {:g}",
    "exclusiveMaximum": "below {:g}",
    "maximum": "at most {:g}",
    "minItems": "{:g} or more",
}


@dataclass(frozen=True)
class OptionHelp:
    """allowed: a range or the words it may be, '' for anything of its type. default: as `--option NAME=` takes it."""

    name: str
    type: str
    allowed: str
    default: str
    meaning: str


@dataclass(frozen=True)
class PartHelp:
    """typed: how it is asked for. about: what it is and its source, in sentences."""

    typed: str
    about: str
    options: tuple[OptionHelp, ...]


def parts_help(method: str, defences: Sequence[str]) -> list[PartHelp]:
    """The method first, then the defences. Raises UserError for an unknown name."""
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    for name in defences:
        if name not in DEFENCES:
            raise unknown("defence", name, DEFENCES)
    own = PartHelp(f"--method {method}", _about(method, METHODS[method].module), _options(method_options(method), ""))
    return [own, *map(_defence, defences)]


def _defence(name: str) -> PartHelp:
    about = _about(name, f"defences.{DEFENCES[name].module}")
    return PartHelp(f"--defence {name}", about, _options(defence_options(name), f"{name}."))


def _about(name: str, module: str) -> str:
    """The docstring of the file that has it, in one line, which begins with the name."""
    said = import_module(f"safedeploy.methods.{module}").__doc__ or ""
    return " ".join(cleandoc(said).split()).removeprefix(f"`{name}`: ")


def _options(options: type[Options], prefix: str) -> tuple[OptionHelp, ...]:
    return tuple(_each(options, prefix))


def _each(options: type[Options], prefix: str) -> Iterator[OptionHelp]:
    schema = options.model_json_schema()
    for name, said in schema["properties"].items():
        kinds = [_resolved(one, schema) for one in said.get("anyOf", [said])]
        known = [kind for kind in kinds if kind.get("type") != "null"]
        default = options.model_fields[name].get_default(call_default_factory=True)
        yield OptionHelp(
            prefix + name,
            " or ".join(dict.fromkeys(_type(kind) for kind in known)),
            "; ".join(dict.fromkeys(filter(None, map(_allowed, known)))),
            _value(default),
            said.get("description", ""),
        )


def _resolved(kind: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A definition in place of the reference to it."""
    return schema["$defs"][kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind


def _type(kind: Mapping[str, Any]) -> str:
    if kind.get("type") == "array":
        return f"list of {_type(kind.get('items', {'type': 'string'}))}s"
    if kind.get("type") == "object":
        return f"NAME={_type(kind['additionalProperties'])},…"
    if "enum" in kind or "const" in kind:
        return "word"
    return {"integer": "integer", "number": "number", "boolean": "true or false", "string": "word"}[kind["type"]]


def _allowed(kind: Mapping[str, Any]) -> str:
    if "enum" in kind or "const" in kind:
        return ", ".join(map(str, kind.get("enum", [kind.get("const")])))
    if kind.get("type") == "array" and "enum" in kind.get("items", {}):
        return ", ".join(map(str, kind["items"]["enum"]))
    return ", ".join(said.format(kind[bound]) for bound, said in _BOUNDS.items() if bound in kind)


def _value(default: Any) -> str:
    if default is None or default in ((), [], {}):
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Mapping):
        return ",".join(f"{name}={_value(value)}" for name, value in default.items())
    if isinstance(default, (list, tuple)):
        return ",".join(map(_value, default))
    return f"{default:g}" if isinstance(default, float) else str(default)
