"""The best configuration, searched for by Optuna: it proposes, our jobs answer."""
