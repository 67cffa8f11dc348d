"""Where results go: the publishers that come with the SDK."""
