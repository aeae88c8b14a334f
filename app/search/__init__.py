"""Which kernel each channel needs: scores from a trained super-network, costs, and a budget -> a layout."""
