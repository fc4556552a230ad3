"""`extends:`: a template on top of another, field by field, step by step."""

from shared.templates.document import Mapping, Node, Scalar, Sequence

NOT_INHERITED = frozenset({"pipeline_id", "extends"})
"""A pipeline's ID is made from its own path, unless the template gives one itself."""


def merge(parent: Mapping, child: Mapping) -> Mapping:
    """`child` with what it leaves out taken from `parent`; every part keeps its own place.

    Variables are merged by name: a plain value replaces the default of an inherited declaration,
    whose type stays. A step with the `step_id` of an inherited one takes its place, others are
    appended.
    """
    keys = {key: node for key, node in parent.keys.items() if key not in NOT_INHERITED}
    values = {key: node for key, node in parent.values.items() if key not in NOT_INHERITED}
    for key, value in child.values.items():
        keys[key] = child.keys[key]
        values[key] = _merged(key, values.get(key), value)
    return Mapping(child.source, child.start, child.end, keys, values)


def _merged(key: str, inherited: Node | None, own: Node) -> Node:
    if key == "variables" and isinstance(inherited, Mapping) and isinstance(own, Mapping):
        keys, values = dict(inherited.keys), dict(inherited.values)
        for name, value in own.values.items():
            keys[name] = own.keys[name]
            values[name] = _variable(inherited.values.get(name), value)
        return Mapping(own.source, own.start, own.end, keys, values)
    if key == "steps" and isinstance(inherited, Sequence) and isinstance(own, Sequence):
        return _steps(inherited, own)
    return own


def _variable(inherited: Node | None, own: Node) -> Node:
    if not isinstance(inherited, Mapping):
        return own
    if isinstance(own, Mapping):
        keys, values = inherited.keys | own.keys, inherited.values | own.values
    else:
        place = Scalar(own.source, own.start, own.end, "default")
        keys = {key: node for key, node in inherited.keys.items() if key != "required"}
        values = {key: node for key, node in inherited.values.items() if key != "required"}
        keys["default"], values["default"] = place, own
    return Mapping(own.source, own.start, own.end, keys, values)


def _steps(inherited: Sequence, own: Sequence) -> Sequence:
    items = list(inherited.items)
    places = {_step_id(item): index for index, item in enumerate(items)}
    replaced: set[str] = set()
    for item in own.items:
        step_id = _step_id(item)
        # A second step of the same name in one file is a fault, which is found where steps are.
        if step_id and step_id in places and step_id not in replaced:
            items[places[step_id]] = item
            replaced.add(step_id)
        else:
            items.append(item)
    return Sequence(own.source, own.start, own.end, tuple(items))


def _step_id(item: Node) -> str | None:
    return item.text("step_id") if isinstance(item, Mapping) else None
