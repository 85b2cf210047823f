# Saved models may hold the metrics that `keras_metrics` registers.
from tfsr import keras_metrics as keras_metrics
from tfsr.layers.bicubic_enlarge import BicubicEnlarge
from tfsr.layers.branched_conv import BranchedConv2D
from tfsr.layers.cascading_block import CascadingBlock
from tfsr.layers.channel_shift import ChannelShift
from tfsr.layers.collapsible_conv import CollapsibleConv2D
from tfsr.layers.color_differences import ColorDifferences
from tfsr.layers.conv_norm import ConvNorm
from tfsr.layers.fake_quantize import FakeQuantize
from tfsr.layers.fake_quantized_conv import FakeQuantizedConv2D
from tfsr.layers.grouped_conv import GroupedConv2D
from tfsr.layers.luma import Luma
from tfsr.layers.multi_scale_conv import MultiScaleConv2D
from tfsr.layers.multi_scale_cross import MultiScaleCross
from tfsr.layers.multi_scale_maps import CONVS, multi_scale
from tfsr.layers.padding import CropToScale, PadToMultiple
from tfsr.layers.resampling import (
    BilinearResize,
    check_ratio,
    downsample,
    feature_pyramid,
    upsample,
)
from tfsr.layers.residual_block import ResidualBlock
from tfsr.layers.residual_e_block import ResidualEBlock
from tfsr.layers.scale_batches import JoinScales, SplitScales
from tfsr.layers.scale_wise_block import ScaleWiseBlock
from tfsr.layers.scale_wise_body import ScaleWiseBody
from tfsr.layers.scale_wise_conv import ScaleWiseConv2D
from tfsr.layers.square_root import SquareRoot
from tfsr.layers.upsampler import Upsampler
from tfsr.layers.weight_norm_conv import WeightNormConv2D
from tfsr.layers.weighted_average import WeightedAverage

__all__ = [
    "CONVS",
    "BicubicEnlarge",
    "BilinearResize",
    "BranchedConv2D",
    "CascadingBlock",
    "ChannelShift",
    "CollapsibleConv2D",
    "ColorDifferences",
    "ConvNorm",
    "CropToScale",
    "FakeQuantize",
    "FakeQuantizedConv2D",
    "GroupedConv2D",
    "JoinScales",
    "Luma",
    "MultiScaleConv2D",
    "MultiScaleCross",
    "PadToMultiple",
    "ResidualBlock",
    "ResidualEBlock",
    "ScaleWiseBlock",
    "ScaleWiseBody",
    "ScaleWiseConv2D",
    "SplitScales",
    "SquareRoot",
    "Upsampler",
    "WeightNormConv2D",
    "WeightedAverage",
    "check_ratio",
    "downsample",
    "feature_pyramid",
    "multi_scale",
    "upsample",
]
