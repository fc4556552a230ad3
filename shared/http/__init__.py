"""HTTP: who asks, what is answered when something is wrong, and the API's own description."""
