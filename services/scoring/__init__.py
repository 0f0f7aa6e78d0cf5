"""Crops and covariates in, reports out."""
