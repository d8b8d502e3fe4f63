"""Predicts how well each model would answer a prompt, and how long the answer gets."""

from sentinella_plugins.router.prediction.predictor import Features, Prediction, Predictor, Profile

__all__ = ["Features", "Prediction", "Predictor", "Profile"]
