"""Where artifacts and large logs are kept: stores of objects named by their digests. `base` has the Protocol, the
registry and the URLs; a store is one module behind it, and wrappers add retries, a local cache or masking to any."""
