"""The OpenAPI document, made of what the parser reads and the replies hold."""
