"""Modules: Python files that are called by a URI, package/api/method.

A module is a file `package/api/method.py` below the node's module directory, with a function

    def execute(headers, value):        # or async
        return {"greeting": f"hello {value['name']}"}

- `headers` is a dict of strings: the scalar arguments. `value` is None, bytes, a string, or what the caller's
  JSON or Record stands for: dict, list, int, ...
- It returns the same kinds of value, or a `splnode.modules.result.Result`, which has headers too and can say
  that the module failed. An exception becomes an ExecutionError; its traceback goes to the node's log.
- A contract beside it, `method.avsc`, says what goes in and out (`contract.py`) and is enforced.
- It runs in a process of its own, one call at a time, which stays for the next call: what it keeps in its
  globals is there again, until the file changes, the process is stopped or nobody calls it for a while. Past the
  call's deadline the process is killed.
- What it prints goes to the node's log. Its environment is small, its standard input empty.
"""
