"""Help for tests: the contract of backends, and an emulated sensor."""
