"""Draws the masks of a device as they come: draw_masks.py [HOST] [PORT] [DEVICE] [MASKS]"""

import sys

import cv2
import numpy as np
import paho.mqtt.subscribe as mqtt
from picosam_mqtt.decode import decode

host, port, device, count = (*sys.argv[1:], *("localhost", "1883", "+", "0")[len(sys.argv) - 1 :])


def draw(client, seen, message):
    mask = decode(message.payload)
    picture = np.zeros((360, 480, 3), np.uint8)
    picture[mask.paste(480, 360)] = (80, 220, 120)
    text = "nothing" if mask.score is None else f"{mask.area_px} px, score {mask.score:.2f}"
    cv2.putText(picture, f"{mask.device} {mask.region} {text}", (8, 350), 0, 0.5, (255,) * 3)
    cv2.imwrite("masks.png", picture)  # or cv2.imshow, with an OpenCV that has windows
    seen.append(mask.seq)
    if len(seen) == int(count):
        sys.exit()


mqtt.callback(draw, f"picosam/{device}/mask", 1, [], host, int(port))
