"""The layers of VT-CLIP, without a trainer.

Plain, in the order of reading: visual_guided_attention, decoder_layer, multi_head, feed_forward.
Fast, each equal to the plain computation up to rounding: product_order, blocked_feed_forward,
fast_cosine, chunked_loss. fast_path decides between the two.
"""

from vtclip.layers.decoder_layer import DecoderLayer, Norm
from vtclip.layers.feed_forward import FeedForward
from vtclip.layers.multi_head import MultiHeadAttention
from vtclip.layers.visual_guided_attention import (
    VisualGuidedAttention,
    visual_guided_logits,
)

__all__ = [
    "DecoderLayer",
    "FeedForward",
    "MultiHeadAttention",
    "Norm",
    "VisualGuidedAttention",
    "visual_guided_logits",
]
