"""The routes of declared writes: what is the same for every one of them between a request and its answer."""
