from tfsr.layers.cascading_block import CascadingBlock
from tfsr.layers.channel_shift import ChannelShift
from tfsr.layers.grouped_conv import GroupedConv2D
from tfsr.layers.residual_block import ResidualBlock
from tfsr.layers.residual_e_block import ResidualEBlock
from tfsr.layers.scale_batches import JoinScales, SplitScales
from tfsr.layers.upsampler import Upsampler

__all__ = [
    "CascadingBlock",
    "ChannelShift",
    "GroupedConv2D",
    "JoinScales",
    "ResidualBlock",
    "ResidualEBlock",
    "SplitScales",
    "Upsampler",
]
