"""Which kernel each channel needs: layouts and networks found under a budget."""
