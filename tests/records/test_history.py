"""Histories of many processes: to come."""
