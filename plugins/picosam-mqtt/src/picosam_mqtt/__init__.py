"""MQTT for picosam_sdk. ``picosam_mqtt.decode`` needs numpy alone."""
