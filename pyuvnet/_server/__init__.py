"""What servers do besides accepting: listen(), shutdown, names, a service manager's sockets."""
