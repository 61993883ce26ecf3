import pytest

from splnode.avro.codec.source import MAX_LINES, MAX_NODES, Costs, Source, Unsuitable, own_functions
from splnode.avro.codec.source_read import children
from splnode.avro.resolution import read_plan
from splnode.avro.schema import Schema, parse_schema


def test_source_grows_by_lines_and_keeps_its_constants() -> None:
    source = Source()
    number = source.constant("N", 5)
    source.add("def f(x):")
    source.indent += 1
    source.add(f"return x + {number}")
    assert source.compiled("f")(1) == 6
    assert source.name("v") != source.name("v")


def test_source_does_not_grow_without_end() -> None:
    source = Source()
    with pytest.raises(Unsuitable):
        source.add(*["pass"] * (MAX_LINES + 1))
    deep = Source()
    deep.indent = 100
    with pytest.raises(Unsuitable):
        deep.add("pass")


def test_what_is_used_twice_and_what_holds_itself_has_a_function() -> None:
    inner = '{"type": "record", "name": "I", "fields": [{"name": "i", "type": "int"}]}'
    text = (
        f'{{"type": "record", "name": "R", "fields": [{{"name": "a", "type": {inner}}}, {{"name": "b", "type": "I"}}, '
    )
    text += '{"name": "n", "type": ["null", "R"]}]}'
    plan = read_plan(parse_schema(text))
    assert [node.label for node in own_functions(plan, children).values()] == ["R", "I"]
    assert [each.label for each in own_functions(plan.steps[2][1], children).values()] == ["union", "I"]


def test_a_plan_of_many_types_has_no_code() -> None:
    schema = Schema("int")
    for _ in range(MAX_NODES):
        array = Schema("array")
        array.items = schema
        schema = array
    with pytest.raises(Unsuitable):
        own_functions(read_plan(schema), children)


def test_costs_are_those_of_the_dearest_way() -> None:
    pair = '{"type": "record", "name": "P", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]}'
    plan = read_plan(parse_schema(f'["null", {{"type": "array", "items": {pair}}}, {pair.replace("P", "Q")}]'))
    costs = Costs(children, {id(plan): plan})
    assert costs.of(plan) == (5, 2)
    assert costs.of(plan.branches[1]) == (1, 2)
    assert costs.of_item(plan.branches[1]) == 6
