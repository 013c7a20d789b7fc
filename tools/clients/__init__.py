"""``make clients``: what people's clients meet at a running server, each in an environment of its own."""
