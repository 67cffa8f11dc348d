"""A local page for picosam_sdk."""
