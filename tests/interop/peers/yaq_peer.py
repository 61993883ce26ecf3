"""yaqc as client, told what to do by JSON lines (see peer.py)."""

import base64
import json
import sys

import yaqc


def pack(value):
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: pack(each) for key, each in value.items()}
    if isinstance(value, list):
        return [pack(each) for each in value]
    return value


def unpack(value):
    if isinstance(value, dict):
        if set(value) == {"$bytes"}:
            return base64.b64decode(value["$bytes"])
        return {key: unpack(each) for key, each in value.items()}
    if isinstance(value, list):
        return [unpack(each) for each in value]
    return value


class Peer:
    def __init__(self):
        self.clients = []

    def do_open(self, command):
        client = yaqc.Client(command["port"], timeout=15)
        self.clients.append(client)
        return {"ok": len(self.clients) - 1, "identity": client._cached_id, "traits": client.traits}

    def do_call(self, command):
        client = self.clients[command["on"]]
        try:
            return {"value": getattr(client, command["message"])(**command["params"])}
        except Exception as error:  # noqa: BLE001 - yaqc raises no class of its own
            return {"system": str(error), "kind": type(error).__name__}

    def do_property(self, command):
        found = self.clients[command["on"]].properties[command["name"]]
        if "set" in command:
            return {"value": found(command["set"])}
        return {"value": {"is": found(), "units": found.units(), "limits": found.limits(), "type": found.type}}

    def do_close(self, command):
        self.clients[command["on"]]._socket._socket.close()
        return {"ok": True}


def main():
    peer = Peer()
    for line in sys.stdin:
        command = unpack(json.loads(line))
        try:
            answer = getattr(peer, "do_" + command["do"])(command)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            answer = {"broken": f"{type(error).__name__}: {error}"}
        number = command["id"]
        print(json.dumps(pack({**answer, "id": number})), flush=True)


main()
