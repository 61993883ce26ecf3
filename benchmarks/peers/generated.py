"""The protobuf classes of bench.proto, generated into benchmarks/out/ when first asked for."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
OUT = HERE.parent / "out"


def messages() -> ModuleType:
    """The module `bench_pb2`. RuntimeError where protoc refuses the file."""
    target, source = OUT / "bench_pb2.py", HERE / "bench.proto"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        from grpc_tools import protoc  # type: ignore[import-untyped]  # it has no stubs

        OUT.mkdir(exist_ok=True)
        if protoc.main(["protoc", f"-I{HERE}", f"--python_out={OUT}", str(source)]):
            raise RuntimeError(f"protoc cannot compile {source}")
    spec = importlib.util.spec_from_file_location("bench_pb2", target)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{target} is no Python module: delete it and try again")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_pb2"] = module
    spec.loader.exec_module(module)
    return module
