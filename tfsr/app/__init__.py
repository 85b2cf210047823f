"""A site that enlarges and restores photos on the visitor's own device.

Its box, which takes a photo and runs a model on it, is the report's too.
"""
