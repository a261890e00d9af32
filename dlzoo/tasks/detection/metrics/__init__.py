"""Metrics of detections."""
