"""What changes masks on their way: the filters that come with the SDK."""
