"""The gaze sources that this package brings."""
