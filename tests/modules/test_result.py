from splnode.modules.result import Record, Result


def test_a_result_has_headers_of_its_own() -> None:
    headers = {"a": "b"}
    result = Result(1, headers=headers)
    headers["a"] = "c"
    assert (result.value, result.headers, result.error) == (1, {"a": "b"}, None)
    assert Result(error="no").error == "no"
    assert Result().headers == {}


def test_a_record_is_its_two_fields() -> None:
    record = Record("x.Y", b"z")
    assert (record.schema, record.data) == ("x.Y", b"z")
