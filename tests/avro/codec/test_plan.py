from splnode.avro.codec.plan import Branch, Op, ReadNode, WriteNode


def test_a_fresh_node_is_empty() -> None:
    read, write = ReadNode(Op.RECORD, "R"), WriteNode(Op.RECORD, "R")
    assert (read.steps, read.names, read.defaults, read.cost, read.factory) == ((), (), (), 0, None)
    assert (write.fields, write.names, write.accepts, write.logical) == ((), frozenset(), (), None)
    assert {slot for slot in ReadNode.__slots__ if not hasattr(read, slot)} == set()
    assert {slot for slot in WriteNode.__slots__ if not hasattr(write, slot)} == set()


def test_the_ops_keep_their_numbers() -> None:
    """The native engine is built with them."""
    assert [op.name for op in Op] == [
        "NULL", "BOOLEAN", "INT", "LONG", "FLOAT", "DOUBLE", "BYTES", "STRING", "FIXED", "ENUM", "ARRAY", "MAP",
        "RECORD", "UNION", "FAIL",
    ]  # fmt: skip
    assert [op.value for op in Op] == list(range(15))


def test_a_branch_shows_its_name_and_value() -> None:
    assert repr(Branch("int", 5)) == "Branch('int', 5)"
