"""Where stages run. A runner is one module behind the Protocol in `base`, found through the registry there."""
