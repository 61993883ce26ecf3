"""What the generators of Python source share: the lines, the constants, and how a plan is cut into functions.

Generated code is for data that are as they should be. It finds out that something is wrong, but not what: then
the functions of `read`, `write` or `conform` do it again, from the start, and say it. That also lets it be a little too
strict: it may refuse what is near a limit, what comes in an unusual form, what is too large for it; only what it
gives must be right.

The code is bounded: a plan whose code would be long or deeply nested has none.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from splnode.avro.codec.plan import Op

MAX_LINES: Final = 2_000
"""Lines of one plan's code: compiling them takes some 20 ms."""
MAX_NODES: Final = 1_000
MAX_NESTING: Final = 12
"""Parts inside one another in one function; Python itself allows 20 loops and 100 indentations."""
AFTER: Final = 8
"""Code is made for a plan that was used this often: making it costs some hundred uses."""

Node = TypeVar("Node")


class Unsuitable(Exception):
    """The code of this plan would be too long or too deep."""


class Bad(Exception):
    """Generated code met something that it does not handle. Never seen outside of the engine."""


class Source:
    """Python source that grows line by line, and the constants that it refers to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {"bad": Bad}
        self.indent = 0
        self._names = 0

    def add(self, *lines: str) -> None:
        """Adds lines at the present indentation."""
        self.lines += ["    " * self.indent + line for line in lines]
        if len(self.lines) > MAX_LINES or self.indent > 4 * MAX_NESTING:
            raise Unsuitable

    def name(self, prefix: str) -> str:
        """A name that is not in use."""
        self._names += 1
        return f"{prefix}{self._names}"

    def constant(self, prefix: str, value: Any) -> str:
        """The name by which the code finds a value."""
        name = self.name(prefix)
        self.constants[name] = value
        return name

    def compiled(self, function: str) -> Callable[..., Any]:
        """The function of that name."""
        namespace = dict(self.constants)
        exec(compile("\n".join(self.lines), "<plan>", "exec"), namespace)
        result: Callable[..., Any] = namespace[function]
        return result


def own_functions(root: Node, children: Callable[[Node], Iterable[Node]]) -> dict[int, Node]:
    """The nodes that get a function of their own: the root, and what is used twice.

    Every type that holds itself is among them, since it is used by itself and from outside.
    """
    used: Counter[int] = Counter([id(root)])
    nodes = {id(root): root}
    todo = [root]
    while todo:
        for child in children(todo.pop()):
            used[id(child)] += 1
            if id(child) not in nodes:
                nodes[id(child)] = child
                todo.append(child)
        if len(nodes) > MAX_NODES:
            raise Unsuitable
    own = {key: node for key, node in nodes.items() if used[key] > 1 and any(True for _ in children(node))}
    return {id(root): root, **own}


class Costs:
    """What a node charges to the limits by itself and its parts, but for those with a function of their own.

    `nodes` counts no items of arrays and maps, and of a union the most expensive branch; `depth` is how many
    containers are inside one another.
    """

    def __init__(self, children: Callable[[Any], Iterable[Any]], own: dict[int, Any]) -> None:
        self._children = children
        self._own = own
        self._known: dict[int, tuple[int, int]] = {}

    def of(self, node: Any, level: int = 0) -> tuple[int, int]:
        """(nodes, depth) of a node."""
        if level > MAX_NESTING:
            raise Unsuitable
        if id(node) not in self._known:
            parts = [self.of(each, level + 1) for each in self._children(node) if id(each) not in self._own]
            nodes = [part[0] for part in parts]
            depth = max((part[1] for part in parts), default=0)
            if node.op == Op.UNION:
                self._known[id(node)] = (max(nodes, default=0), depth)
            elif node.op in (Op.ARRAY, Op.MAP):
                self._known[id(node)] = (node.cost, depth + 1)
            elif node.op == Op.RECORD:
                self._known[id(node)] = (node.cost + sum(nodes), depth + 1)
            else:
                self._known[id(node)] = (0, 0)
        return self._known[id(node)]

    def of_item(self, node: Any) -> int:
        """Nodes that one item of this array or map charges, itself included."""
        charge: int = node.each
        return charge + (0 if id(node.items) in self._own else self.of(node.items)[0])
