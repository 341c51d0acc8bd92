"""HTTP as AIS speaks it: requests, replies, errors, streams, faults."""
