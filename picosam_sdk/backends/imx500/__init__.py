"""The network inside the camera: Raspberry Pi AI Camera (Sony IMX500) through picamera2."""
