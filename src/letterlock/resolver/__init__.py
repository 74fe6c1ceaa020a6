"""An answer and its proof."""
