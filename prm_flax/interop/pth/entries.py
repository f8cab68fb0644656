"""Where the weights stand in what a training program saved."""

from typing import Any, NamedTuple, NoReturn

from prm_flax.interop.pth.records import UNREAD, Global, Tensor

# Training programs save the state dict in a dictionary, under one of these names,
RAW = ("state_dict", "model_state_dict", "model")
# a moving average of the weights under one of these,
AVERAGED = (
    "state_dict_ema",
    "ema_state_dict",
    "model_ema",
    "ema_model",
    "model_ema_state_dict",
    "ema_model_state_dict",
    "model_state_dict_ema",
    "ema_state",
    "ema",
)
# and either once more in a dictionary, under a name of RAW or one of these.
WITHIN = (*RAW, "module", "shadow")
DEPTH = 2
# How a file is called that is a state dict itself.
WHOLE = "the file"

ADVICE = "In PyTorch, save the weights alone: torch.save(model.state_dict(), path)."
# What is left out among the weights, whatever its name.
SCALARS = (bool, int, float, str, bytes, type(None))


class Chosen(NamedTuple):
    """The entry that is read.

    Attributes:
        value: what it holds.
        entry: its name, or `WHOLE`.
        other: the name of the entry with the other kind of weights, if there is one.
    """

    value: Any
    entry: str
    other: str | None


def choose(value: Any, average: bool) -> Chosen:
    """Finds the raw or the averaged weights in what a file holds.

    Raises:
        ValueError: there is but the other kind.
    """
    entries = value if type(value) is dict else {}
    averaged = _first(AVERAGED, entries)
    raw = _first(RAW, entries)
    if raw is None and (averaged is None or _has_tensors(entries)):
        raw = WHOLE
    entry, other = (averaged, raw) if average else (raw, averaged)
    if entry is None:
        raise ValueError(
            f"it has but raw weights ({raw}), and averaged ones were asked for, such "
            f"as {AVERAGED[0]} or {AVERAGED[2]}. Take the raw ones."
            if average
            else f"it has but averaged weights ({averaged}), and raw ones were asked "
            "for. Take the averaged ones."
        )
    held = value if entry == WHOLE else entries[entry]
    return Chosen(_inner(held), entry, other)


def weights_of(value: Any) -> dict[str, Tensor]:
    """The tensors of a state dict; numbers, text and objects beside them are left out.

    A name with a dot is a weight's: nothing but a tensor or a number stands there.

    Raises:
        ValueError: it is no state dict, has no tensors, or something else in the place
            of a weight.
    """
    if type(value) is not dict or not value:
        raise ValueError(f"it holds no state dict but {_kind(value)}. {ADVICE}")
    found = {name: v for name, v in value.items() if _is_weight(name, v)}
    beside = {name: v for name, v in value.items() if not _is_weight(name, v)}
    if not found:
        _refuse("a state dict has tensors by name, this one has none but", beside)
    wrong = {n: v for n, v in beside.items() if _is_dotted(n) and not _is_scalar(v)}
    if wrong:
        _refuse("a state dict has tensors by name, this one", wrong)
    return found


def _refuse(rule: str, entries: dict[Any, Any]) -> NoReturn:
    if UNREAD in entries:
        raise ValueError(
            f"{rule} other keys: dictionaries with strings or integers as keys are "
            "read."
        )
    named = [f"{str(name)[:100]!r} ({_kind(v)})" for name, v in entries.items()]
    raise ValueError(f"{rule} also {', '.join(named[:20])}. {ADVICE}")


def _first(names: tuple[str, ...], entries: dict[Any, Any]) -> str | None:
    return next((name for name in names if type(entries.get(name)) is dict), None)


def _inner(value: Any) -> Any:
    """The state dict that is wrapped in dictionaries, at most twice."""
    for _ in range(DEPTH):
        if type(value) is not dict or _has_tensors(value):
            break
        value = value.get(_first(WITHIN, value), value)
    return value


def _has_tensors(entries: dict[Any, Any]) -> bool:
    return any(_is_weight(name, value) for name, value in entries.items())


def _is_weight(name: Any, value: Any) -> bool:
    return type(name) is str and type(value) is Tensor


def _is_dotted(name: Any) -> bool:
    return type(name) is str and "." in name


def _is_scalar(value: Any) -> bool:
    return type(value) in SCALARS or (type(value) is Global and value.is_number)


def _kind(value: Any) -> str:
    if type(value) is Global:
        return f"the Python object {str(value)[:100]!r}"
    if isinstance(value, dict) and not value:
        return "an empty dictionary"
    return f"a {type(value).__name__}"
