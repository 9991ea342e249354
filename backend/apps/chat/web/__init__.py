"""The pages people open: the inbox and the login. Everything live on them speaks REST and WebSocket."""
