"""One request and its response: admitted, given to a backend, tried again, relayed, recorded."""
