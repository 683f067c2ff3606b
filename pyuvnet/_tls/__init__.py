"""The facade of TLS, behind pyuvnet.tls; only a program that uses TLS imports it."""
