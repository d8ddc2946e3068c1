"""How the calibrated terms are fitted and tested against measurement; anyone can run it again."""
