"""Saves the pictures of a privacy camera as they come: receiver.py [HOST] [PORT] [PICTURES]"""

import sys
from pathlib import Path

import paho.mqtt.subscribe as mqtt

host, port, count = (*sys.argv[1:], *("localhost", "1883", "0")[len(sys.argv) - 1 :])


def save(client, saved, message):
    saved.append(Path(f"picture{len(saved):04}.jpg"))
    saved[-1].write_bytes(message.payload)
    print(f"{saved[-1]}: {len(message.payload)} bytes from {message.topic}")
    if len(saved) == int(count):
        sys.exit()


mqtt.callback(save, "picosam/+/image", 0, [], host, int(port))
