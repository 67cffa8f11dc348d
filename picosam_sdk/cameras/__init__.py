"""Where frames come from: the cameras that come with the SDK."""
