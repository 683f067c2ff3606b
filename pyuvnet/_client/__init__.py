"""One connect(): its steps, one after another, and the PROXY header that it may send."""
