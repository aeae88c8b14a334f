"""Search for the best configuration: Optuna proposes settings, and jobs train and evaluate them."""
