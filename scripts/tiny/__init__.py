"""How the `tiny` backbone is made: glyphs, captioned pictures, pre-training, measures."""
