"""What a running stage can ask of gzl: an HTTP API of the agent, and the commands of the `gzl` that a stage finds on
its PATH, which speak it. The API knows its `Host`, the agent's side, by the Protocol in `host` alone."""
