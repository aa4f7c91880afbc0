"""Reads the system-call table and its handlers' signatures, for ``gen_syscalls.py``.

Reads only syntax trees, of ``sentry/syscalls/table.py``, ``kinds.py`` and the handler modules, so
it runs without importing any of them, while they are being edited. A row whose handler is missing
or whose signature uses an unknown kind is left out with a warning.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

PACKAGE = "wardian.sentry.syscalls"

CALLS = 512
RESTARTS = {"auto": 0, "never": 1, "nohand": 2}

# How an integer kind is read from the message; an unknown kind leaves its row out.
S32, U32 = "read_i32_le(a, {})", "read_i64_le(a, {}) & 0xFFFFFFFF"
S64, U64 = "read_i64_le(a, {})", "register(a, {})"
WIDTHS = {
    "Int": S32, "UInt": U32, "Long": S64, "ULong": U64, "Size": U64, "Offset": S64, "FD": S32,
    "Pid": S32, "Uid": U32, "Gid": U32, "Signo": S32, "Mode": U32, "Flags": U32, "LongFlags": U64,
    "ClockId": S32, "Addr": U64, "OutBuf": U64,
    "InIovec": U64, "OutIovec": U64,
}  # fmt: skip
STRINGS = ("UserPath", "UserString")


class Param(NamedTuple):
    """One argument of a call."""

    name: str
    kind: str
    nullable: bool


class Call(NamedTuple):
    """One row with its handler's signature."""

    name: str
    nr: int
    module: str
    function: str
    flags: str
    restart: str
    params: tuple[Param, ...]


class Kinds(NamedTuple):
    """What kinds.py declares."""

    bases: dict[str, str]  # kind -> "int" or "bytes"
    sizes: dict[str, int]


class BadRow(Exception):
    """A row that cannot be generated; the words say why."""


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


def assigned(tree: ast.Module, name: str) -> object:
    """The literal assigned to ``name`` at top level."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        else:
            continue
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return ast.literal_eval(node.value)  # type: ignore[arg-type]
    raise KeyError(name)


def read_kinds(path: Path) -> Kinds:
    """The NewTypes and struct sizes of kinds.py."""
    tree = parse(path)
    bases: dict[str, str] = {}
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign) else None
        if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "NewType":
            bases[str(ast.literal_eval(value.args[0]))] = ast.unparse(value.args[1])
    sizes = assigned(tree, "STRUCT_SIZES")
    assert isinstance(sizes, dict)
    return Kinds(bases, sizes)


def read_imports(tree: ast.Module) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Names of the table: alias -> module, and alias -> (module, function)."""
    modules: dict[str, str] = {}
    functions: dict[str, tuple[str, str]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        for alias in node.names:
            if node.module == PACKAGE:
                modules[alias.asname or alias.name] = alias.name
            elif node.module.startswith(PACKAGE + "."):
                owner = node.module[len(PACKAGE) + 1 :]
                functions[alias.asname or alias.name] = (owner, alias.name)
    return modules, functions


class Handlers:
    """Signatures of handler functions, one parse per module."""

    def __init__(self, folder: Path, kinds: Kinds) -> None:
        self.folder = folder
        self.kinds = kinds
        self.modules: dict[str, dict[str, ast.FunctionDef]] = {}

    def functions(self, module: str) -> dict[str, ast.FunctionDef]:
        """The top-level functions of a handler module."""
        if module not in self.modules:
            path = self.folder / f"{module}.py"
            try:
                tree = parse(path)
            except (OSError, SyntaxError) as error:
                raise BadRow(f"cannot read {path.name}: {error}") from None
            self.modules[module] = {
                node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)
            }
        return self.modules[module]

    def params(self, module: str, function: str) -> tuple[Param, ...]:
        """The arguments of a handler after the task."""
        node = self.functions(module).get(function)
        if node is None:
            raise BadRow(f"no function {module}.{function}")
        arguments = node.args.args
        if not arguments or len(arguments) > 7:
            raise BadRow(f"{module}.{function} must take the task and at most six arguments")
        return tuple(self.param(a) for a in arguments[1:])

    def param(self, argument: ast.arg) -> Param:
        """One argument, checked against kinds.py."""
        if argument.annotation is None:
            raise BadRow(f"argument {argument.arg} has no kind")
        kind, _, rest = ast.unparse(argument.annotation).strip("'\"").partition(" | ")
        base = self.kinds.bases.get(kind)
        known = kind in WIDTHS or kind in STRINGS or kind == "InBuf" or kind in self.kinds.sizes
        if base is None or not known or rest not in ("", "None"):
            raise BadRow(f"argument {argument.arg} has the unknown kind {kind}")
        return Param(argument.arg, kind, rest == "None")


def read_row(node: ast.Call) -> tuple[str, str, int, str, str]:
    """(name, handler expression, number, flags, restart) of a ``row(...)``."""
    names = ("name", "handler", "amd64", "flags", "restart")
    values: dict[str, ast.expr] = dict(zip(names, node.args, strict=False))
    values.update({k.arg: k.value for k in node.keywords if k.arg})
    text = {k: ast.literal_eval(v) for k, v in values.items() if k != "handler"}
    return (
        text["name"],
        ast.unparse(values["handler"]),
        text["amd64"],
        text.get("flags", ""),
        text.get("restart", "auto"),
    )


def read_calls(folder: Path, kinds: Kinds, warn: list[str]) -> list[Call]:
    """Every usable row in order of number; what was left out goes to ``warn``."""
    tree = parse(folder / "table.py")
    modules, functions = read_imports(tree)
    handlers = Handlers(folder, kinds)
    calls: dict[int, Call] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "row":
            continue
        name, handler, nr, flags, restart = read_row(node)
        try:
            owner, _, function = handler.rpartition(".")
            if owner:
                module = modules.get(owner, owner)
            elif function in functions:
                module, function = functions[function]
            else:
                raise BadRow(f"{handler} is not imported from {PACKAGE}")
            if nr in calls:
                raise BadRow(f"number {nr} is taken by {calls[nr].name}")
            if not 0 <= nr < CALLS or restart not in RESTARTS:
                raise BadRow("number or restart kind out of range")
            params = handlers.params(module, function)
            call = Call(name, nr, module, function, flags, restart, params)
            for i, param in enumerate(params):
                if param.kind == "InBuf":
                    length_of(call, i)
            calls[nr] = call
        except BadRow as error:
            warn.append(f"{name}: {error}")
    return [calls[nr] for nr in sorted(calls)]


def length_of(call: Call, index: int) -> Param:
    """The length argument of an InBuf: the integer that follows it."""
    if index + 1 >= len(call.params) or call.params[index + 1].kind not in WIDTHS:
        raise BadRow(f"InBuf {call.params[index].name} must be followed by its length")
    return call.params[index + 1]
