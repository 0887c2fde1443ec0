"""A reader of the pickles in TorchScript archives that can run no code.

It interprets the few instructions that PyTorch writes there and builds records of this module:
no name of a pickle is ever imported or called, and no tensor is allocated while it reads.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

STORAGE_TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# push the argument that stands in the pickle
LITERALS = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
MAX_DIMENSIONS = 64


class MalformedPickle(ValueError):
    """A pickle that holds more than tensors and plain values, or is damaged."""


class StorageRecord(NamedTuple):
    """A storage in the archive: its type, the name of its entry and the number of its elements."""

    dtype: torch.dtype
    key: str
    n_elements: int


class TensorRecord(NamedTuple):
    """A tensor: a view into a storage, known to lie inside it."""

    storage: StorageRecord
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """What the tensor takes up when it is contiguous."""
        return number_of_elements(self.size) * self.storage.dtype.itemsize


class _Name(NamedTuple):
    """A global name as it stands in the pickle."""

    text: str


# a record is told from another by identity: a module may stand under two names
@dataclass(eq=False)
class ObjectRecord:
    """An object of a class that the archive defines; its code is not run.

    Attributes:
        class_name: as in `__torch__.torch.nn.modules.linear.Linear`.
        attributes: by name; None until its state has been read.
    """

    class_name: str
    attributes: dict[str, Any] | None = field(default=None)


def number_of_elements(size: tuple[int, ...]) -> int:
    """Return the product of a size, 1 for a scalar."""
    product = 1
    for length in size:
        product *= length
    return product


def read_pickle(data: bytes) -> Any:
    """Read a pickle to records, plain values, lists, tuples and dictionaries.

    Raises:
        MalformedPickle: it holds anything else, or is damaged.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()
            machine.run(opcode.name, argument)
    except MalformedPickle:
        raise
    except ValueError as error:
        raise MalformedPickle(f"a damaged pickle: {error}") from error
    raise MalformedPickle("a pickle without an end")


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memory[argument] = self.top()
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self.memory:
                raise MalformedPickle("a reference to nothing")
            self.stack.append(self.memory[argument])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            self.stack.append(tuple(reversed([self.pop() for _ in range(int(name[-1]))])))
        elif method := getattr(self, f"do_{name.lower()}", None):
            method(argument)
        else:
            raise MalformedPickle(f"the instruction {name}, which no archive of tensors needs")

    def pop(self) -> Any:
        """Take the top of the stack."""
        self.top()
        return self.stack.pop()

    def top(self) -> Any:
        """Return the top of the stack."""
        if not self.stack:
            raise MalformedPickle("an instruction without its operand")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        """Take what was pushed since the last mark."""
        if not self.below:
            raise MalformedPickle("an instruction without its mark")
        items, self.stack = self.stack, self.below.pop()
        return items

    def do_proto(self, version: int) -> None:
        """PyTorch writes protocol 2; the instructions themselves are checked one by one."""

    def do_mark(self, _: None) -> None:
        self.below.append(self.stack)
        self.stack = []

    def do_tuple(self, _: None) -> None:
        items = self.pop_to_mark()
        self.stack.append(tuple(items))

    def do_empty_tuple(self, _: None) -> None:
        self.stack.append(())

    def do_empty_list(self, _: None) -> None:
        self.stack.append([])

    def do_empty_dict(self, _: None) -> None:
        self.stack.append({})

    def do_append(self, _: None) -> None:
        item = self.pop()
        self.list_on_top().append(item)

    def do_appends(self, _: None) -> None:
        items = self.pop_to_mark()
        self.list_on_top().extend(items)

    def list_on_top(self) -> list[Any]:
        """Return the list on top of the stack."""
        if not isinstance(self.top(), list):
            raise MalformedPickle("elements of what is no list")
        return self.top()

    def do_setitem(self, _: None) -> None:
        value, key = self.pop(), self.pop()
        self.set_items([key, value])

    def do_setitems(self, _: None) -> None:
        self.set_items(self.pop_to_mark())

    def set_items(self, items: list[Any]) -> None:
        """Put keys and values in turn into the dictionary on top of the stack."""
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise MalformedPickle("items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # a nested tuple as key would be hashed to any depth
            if not isinstance(key, str | int | float):
                raise MalformedPickle("a key that is neither text nor a number")
            target[key] = value

    def do_global(self, text: str) -> None:
        known = text in FUNCTIONS or _storage_type(text) or text.startswith("__torch__")
        if not known:
            raise MalformedPickle(f"the name {text[:80]!r}; nothing of it was run")
        self.stack.append(_Name(text))

    def do_newobj(self, _: None) -> None:
        arguments, name = self.pop(), self.pop()
        if arguments != () or not isinstance(name, _Name) or not name.text.startswith("__torch__"):
            raise MalformedPickle("an object of what is no class of the archive")
        # the instruction has "module class"
        self.stack.append(ObjectRecord(name.text.replace(" ", ".")))

    def do_build(self, _: None) -> None:
        state, target = self.pop(), self.top()
        if not isinstance(target, ObjectRecord) or target.attributes is not None:
            raise MalformedPickle("a state of what is no object of the archive")
        if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
            raise MalformedPickle(
                f"an object of {target.class_name[:80]!r} that restores itself by code of its own, "
                "which is not run"
            )
        target.attributes = state

    def do_reduce(self, _: None) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, _Name) or name.text not in FUNCTIONS:
            raise MalformedPickle("a call of what is no function for tensors")
        if not isinstance(arguments, tuple):
            raise MalformedPickle("a call without arguments")
        self.stack.append(FUNCTIONS[name.text](*arguments[:10]))

    def do_binpersid(self, _: None) -> None:
        match self.pop():
            case ("storage", _Name(text), str() as key, str(), int() as n_elements):
                dtype = _storage_type(text)
            case _:
                raise MalformedPickle("a reference to what is no storage")
        if dtype is None or n_elements < 0:
            raise MalformedPickle("a storage of an unknown type or size")
        self.stack.append(StorageRecord(dtype, key, n_elements))


def _storage_type(text: str) -> torch.dtype | None:
    module, _, name = text.partition(" ")
    return STORAGE_TYPES.get(name) if module == "torch" else None


def _tensor(*arguments: Any) -> TensorRecord:
    """Check what would be given to torch._utils._rebuild_tensor_v2."""
    match arguments:
        case (StorageRecord() as storage, int() as offset, tuple() as size, tuple() as stride, *_):
            pass
        case _:
            raise MalformedPickle("a tensor without a storage, a size or a stride")
    numbers = (offset, *size, *stride)
    if not all(isinstance(n, int) and 0 <= n < 1 << 62 for n in numbers):
        raise MalformedPickle("a tensor whose size, stride or offset is no number of elements")
    if len(size) != len(stride) or len(size) > MAX_DIMENSIONS:
        raise MalformedPickle(f"a tensor of {len(size)} dimensions and {len(stride)} strides")
    count = number_of_elements(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > storage.n_elements or (count and last >= storage.n_elements):
        raise MalformedPickle(
            f"a tensor of {count:,} elements that does not fit its storage of "
            f"{storage.n_elements:,}"
        )
    return TensorRecord(storage, offset, size, stride)


def _parameter(*arguments: Any) -> TensorRecord:
    """Check what would be given to torch._utils._rebuild_parameter."""
    if not arguments or not isinstance(arguments[0], TensorRecord):
        raise MalformedPickle("a parameter without a tensor")
    return arguments[0]


def _ordered_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise MalformedPickle("a dictionary made from something else")
    return {}


def _value(*arguments: Any) -> Any:
    """Return a list, or a value, without the type that TorchScript notes beside it."""
    if not arguments:
        raise MalformedPickle("a list without its elements")
    return arguments[0]


FUNCTIONS = {
    "torch._utils _rebuild_tensor_v2": _tensor,
    "torch._utils _rebuild_parameter": _parameter,
    "collections OrderedDict": _ordered_dict,
    "torch.jit._pickle build_intlist": _value,
    "torch.jit._pickle build_doublelist": _value,
    "torch.jit._pickle build_boollist": _value,
    "torch.jit._pickle build_tensorlist": _value,
    "torch.jit._pickle restore_type_tag": _value,
}
