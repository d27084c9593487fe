"""Runs in an environment of its own, with the published openpi-client and nothing of this project.

    python openpi_robot.py HOST PORT [API_KEY]

Reads observations from stdin; writes what the client returns, or the error it raises, to stdout.
Each is a length (4 bytes, little-endian) and a message of openpi's msgpack_numpy; the first that
it writes is the server's metadata.
"""

import sys

from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def write(message):
    data = msgpack_numpy.packb(message)
    sys.stdout.buffer.write(len(data).to_bytes(4, "little") + data)
    sys.stdout.buffer.flush()


def read():
    length = int.from_bytes(sys.stdin.buffer.read(4), "little")
    return msgpack_numpy.unpackb(sys.stdin.buffer.read(length)) if length else None


def main():
    host, port, *key = sys.argv[1:]
    client = WebsocketClientPolicy(host, int(port), api_key=key[0] if key else None)
    write(client.get_server_metadata())
    while (observation := read()) is not None:
        try:
            write(client.infer(observation))
        except RuntimeError as error:
            write({"raised": str(error)})


main()
