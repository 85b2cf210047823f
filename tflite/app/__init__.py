"""A site that enlarges and restores photos on the visitor's own device.

The report uses its box too, which takes a photo and runs a model on it.
"""
