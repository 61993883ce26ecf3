"""The Python avro package as client and as server over HTTP, told what to do by JSON lines (see peer.py)."""

import base64
import datetime
import http.client
import http.server
import json
import ssl
import sys
import threading
from pathlib import Path

import avro.errors
import avro.ipc
import avro.protocol

SAYING = threading.Lock()


def pack(value):
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: pack(each) for key, each in value.items()}
    if isinstance(value, list):
        return [pack(each) for each in value]
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def unpack(value):
    if isinstance(value, dict):
        if set(value) == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {key: unpack(each) for key, each in value.items()}
    if isinstance(value, list):
        return [unpack(each) for each in value]
    return value


def say(said):
    with SAYING:
        print(json.dumps(pack(said)), flush=True)


def load(path):
    return avro.protocol.parse(Path(path).read_text(encoding="utf-8"))


class Client:
    def __init__(self, command):
        self.protocol = load(command["protocol"])
        self.transceiver = avro.ipc.HTTPTransceiver(command["host"], command["port"], command["resource"])
        if command["transport"] == "https":  # it has none of its own, but it is only another connection of http.client
            context = ssl.create_default_context(cafile=command["ca"])
            self.transceiver.conn = http.client.HTTPSConnection(command["host"], command["port"], context=context)
        self.requestor = avro.ipc.Requestor(self.protocol, self.transceiver)

    def call(self, message, params):
        try:
            return {"value": self.requestor.request(message, params)}
        except avro.errors.AvroRemoteException as error:
            what = error.args[0]
            if isinstance(what, str):
                return {"system": what}
            names = [schema.fullname for schema in self.protocol.messages[message].errors.schemas[1:]]
            keys = {
                schema.fullname: {field.name for field in schema.fields}
                for schema in self.protocol.messages[message].errors.schemas[1:]
            }
            return {"declared": {"name": next(name for name in names if keys[name] == set(what)), "fields": what}}
        except avro.errors.AvroException as error:
            return {"system": str(error)}


class Depot(avro.ipc.Responder):
    def invoke(self, message, request):
        if message.name == "reserve":
            item = request["item"]
            if item["count"] == 13:
                raise avro.errors.AvroRemoteException({"reason": "thirteen"})
            if item["count"] > 10:
                raise avro.errors.AvroRemoteException({"sku": item["sku"], "left": 10})
            item["labels"].append("reserved")
            if item["sku"] == "B2":
                item["note"] = "second shelf"
            return item
        if message.name == "add":
            return request["a"] + request["b"]
        if message.name == "blob":
            return request["data"]
        if message.name == "fail":
            raise RuntimeError(request["how"])
        if message.name == "tell":
            say({"event": "told", "text": request["text"]})
            return None
        if message.name == "seen":
            return {}
        raise AssertionError(message.name)

    def write_error(self, writers_schema, error_exception, encoder):
        """The package's own writes every error as a string."""
        what = error_exception.args[0]
        if isinstance(what, dict):
            avro.io.DatumWriter(writers_schema).write(what, encoder)
        else:
            super().write_error(writers_schema, error_exception, encoder)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_POST(self):
        request = avro.ipc.FramedReader(self.rfile).read_framed_message()
        answer = self.server.responder.respond(request)
        self.send_response(200)
        self.send_header("Content-Type", "avro/binary")
        self.send_header("Connection", "close")
        self.end_headers()
        avro.ipc.FramedWriter(self.wfile).write_framed_message(answer)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Peer:
    def __init__(self):
        self.clients = []
        self.servers = []

    def do_open(self, command):
        self.clients.append(Client(command))
        return {"ok": len(self.clients) - 1}

    def do_call(self, command):
        return self.clients[command["on"]].call(command["message"], command["params"])

    def do_burst(self, command):
        client = self.clients[command["on"]]
        return {"answers": [client.call(command["message"], params) for params in command["list"]]}

    def do_close(self, command):
        self.clients[command["on"]].transceiver.close()
        return {"ok": True}

    def do_serve(self, command):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.responder = Depot(load(command["protocol"]))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)
        return {"ok": len(self.servers) - 1, "port": server.server_port}

    def do_stop(self, command):
        self.servers[command["on"]].shutdown()
        self.servers[command["on"]].server_close()
        return {"ok": True}


def main():
    peer = Peer()
    for line in sys.stdin:
        command = unpack(json.loads(line))
        try:
            answer = getattr(peer, "do_" + command["do"])(command)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            answer = {"broken": f"{type(error).__name__}: {error}"}
        say({"id": command["id"], **answer})


main()
