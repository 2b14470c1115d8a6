"""What forks of Caffe add: what of it netc reads but cannot use, and what it does not have, by the fork's name.

What netc has of them is in the schema ("Of forks") and among the layers (`Layer.fork`); docs/forks.md lists both.
"""

from __future__ import annotations

from typing import Any

from netc.errors import NetcError, Place

SSD = "SSD (weiliu89/caffe)"
YOLO = "MobileNet-YOLO (eric612)"
R_FCN = "R-FCN (daijifeng001/caffe-rfcn)"
PSPNET = "PSPNet (hszhao/PSPNet)"
NVIDIA = "NVIDIA's Caffe"
INTEL = "Intel's Caffe"
ACTION = "the fork for action recognition (yjxiong/caffe)"
PVANET = "PVANet (sanghoon/pva-faster-rcnn)"
WARP_CTC = "warp-ctc (xmfbit/warpctc-caffe)"
HAPPYNEAR = "happynear/caffe-windows"
JOLIBRAIN = "jolibrain/caffe"
CRF_RNN = "CRF as RNN (torrvision/crfasrnn)"
DEEPLAB = "DeepLab"
FLOWNET = "FlowNet (lmb-freiburg)"
OPENPOSE = "OpenPose's Caffe (CMU)"
MYCAFFE = "MyCaffe"
MATTING = "pl8787/exp_caffe"
GREENTEA = "OpenCL Caffe (naibaf7)"
SPP_NET = "SPP-net"

_TYPES = {
    YOLO: """AssistedExcitation GaussianYolov3 HardSigmoid LaneData Mish RegionLoss SegmentationEvaluate Yolov3 YoloSeg
        Yolov3Loss""",
    NVIDIA: "DetectNetTransformation TRT",
    INTEL: "DetectionLoss EvalDetection IntelLRN IntelPack IntelUnpack MnActivation MnParamGradCompress SimplerNMS",
    PVANET: "ProposalTarget",
    R_FCN: "RPNAnnotatorOHEM",
    ACTION: "ACCURACY_TREE COMPACT_DATA LOSS_TREE SegData SOFTMAX_LOSS_TREE TRANSFORM_ACCURACY TRANSFORM_SOFTMAX_LOSS",
    WARP_CTC: "CTCLoss CtcLoss LabelsequenceAccuracy Reverse Transpose WarpCTC WarpCTCLoss",
    HAPPYNEAR: """CenterLoss ChannelScale Covariance EltwiseAffine Flip Hotspot InnerDistance Insanity LOCAL Local
        MultiLabelImageData SubRegion TripletLoss""",
    JOLIBRAIN: "DiceCoefLoss Lstm SeLuDropout SparseData SparseInnerProduct SparseDataTransformer",
    CRF_RNN: "MULTI_STAGE_MEANFIELD MultiStageMeanfield",
    DEEPLAB: "DenseCRF ImageSegData MatRead MatWrite UniqueLabel",
    PSPNET: "SegAccuracy",
    FLOWNET: "Accum Correlation CustomData DataAugmentation Downsample FlowWarp LpqLoss Resample",
    OPENPOSE: "CPMData ImResize Nms OPData",
    MYCAFFE: """AccuracyDecode AccuracyEncoding DataSequence Debug Decode Knn LayerNorm LstmAttention LstmSimple
        MemoryLoss SoftmaxCrossEntropy2Loss TokenizedData TransformerBlock UnPooling""",
    MATTING: """ACCURACY_REGRESSION COLINEAR_CONVOLUTION EUCLIDEAN_MASK EUCLIDEAN_MASK_LOSS LOCAL_WEIGHTED_CONVOLUTION
        MASK_WEIGHT MATTING MATTING_LOSS""",
    SPP_NET: "SPATIAL_PYRAMID_POOLING SPATIAL_PYRAMID_POOLING_DATA",
    GREENTEA: "MergeCrop MERGE_CROP",
    "Mask R-CNN": "ROIAlign RoIAlign",
}

_FIELDS = {
    SSD: "ap_version eval_type plateau_winsize show_per_class_result",
    YOLO: """assisted_excitation_param gaussian_yolov3_param mish_param region_loss_param segmentation_evaluate_param
        stageiter stagelr yolov3_param yolo_seg_param""",
    NVIDIA: """global_grad_scale_max larc larc_eta larc_policy larc_turbo max_momentum min_lr momentum_policy
        momentum_power rampup_interval rampup_lr solver_data_type store_blobs_in_old_format
        test_and_snapshot_last_epochs trt_param var_sz_img_enabled""",
    INTEL: """compile_net_state disabled_update eval_detection_param local_gw_ratio local_lr_auto mn_activation_param
        mn_grad_compress_param multinode spatial_dropout_param split_param test_offset use_weight_bias warmup_iter
        warmup_start_lr""",
    ACTION: "multi_scale_levels seg_data_param richness auto_insert_gathers",
    WARP_CTC: "ctc_loss_param labelsequence_accuracy_param transpose_param warp_ctc_loss_param",
    HAPPYNEAR: """bp_norm eltwise_affine_param face_point_num face_transform flip_param hotspot_param
        inner_distance_param insanity_param local_param max_aspect_ratio max_random_scale max_random_shift
        max_rotate_angle max_shear_ratio min_random_scale normalize_param normalize_type sub_region_param
        triplet_loss_param""",
    JOLIBRAIN: "selu_dropout_param sparse_data_param sparse_inner_product_param",
    CRF_RNN: "multi_stage_meanfield_param",
    PSPNET: "label_type batch_reduction_param",
    FLOWNET: "correlation_param downsample_param flow_warp_param resample_param augmentation_param",
    OPENPOSE: "cpm_transform_param imresize_param nms_param op_transform_param",
    MATTING: "colinear_convolution_param euclidean_mask_param mask_weight_param matting_param",
    GREENTEA: "fuse_type mergecrop_param buffer_size",
    "hli2020/caffe": "debug_display",
    "Mask R-CNN": "roi_align_param",
}

_VALUES = {
    "FCN's early Caffe (longjon/caffe), where it finds the place itself": "CROP",
    INTEL: "DNNL MKL MLSL",
    NVIDIA: "FLOAT16_SR",
}


def _turned(table: dict[str, str]) -> dict[str, str]:
    return {name: fork for fork, names in table.items() for name in names.split()}


FORK_OF_TYPE = _turned(_TYPES)
"""Layer type (also of V1's enum) that netc lacks → the fork of Caffe that has it, the best known of several."""

FORK_OF_FIELD = _turned(_FIELDS)
"""Field that the schema lacks → the fork."""

FORK_OF_VALUE = FORK_OF_TYPE | _turned(_VALUES)
"""Value of an enum that the schema lacks → the fork."""

EACH_AXIS = {"PoolingParameter": {"kernel_size": "kernel_sizes", "stride": "strides", "pad": "pads"}}
"""Message → fields that Caffe has once, and forks once for each axis → the fields that hold them then."""

TYPE_OF_BLOCK = {
    "annotated_data_param": "AnnotatedData",
    "bn_param": "BN",
    "box_annotator_ohem_param": "BoxAnnotatorOHEM",
    "continuation_indicator_param": "ContinuationIndicator",
    "dense_image_data_param": "DenseImageData",
    "detection_evaluate_param": "DetectionEvaluate",
    "detection_output_param": "DetectionOutput",
    "detectnet_augmentation_param": "DetectNetTransformation",
    "detectnet_groundtruth_param": "DetectNetTransformation",
    "interp_param": "Interp",
    "multibox_loss_param": "MultiBoxLoss",
    "norm_param": "Normalize",
    "permute_param": "Permute",
    "prior_box_param": "PriorBox",
    "proposal_param": "Proposal",
    "psroi_pooling_param": "PSROIPooling",
    "reorg_param": "Reorg",
    "roi_pooling_param": "ROIPooling",
    "seg_accuracy_param": "SegAccuracy",
    "shuffle_channel_param": "ShuffleChannel",
    "smooth_l1_loss_param": "SmoothL1Loss",
    "upsample_param": "Upsample",
    "video_data_param": "VideoData",
    "yolo_detection_output_param": "YoloDetectionOutput",
    "yolov3_detection_output_param": "Yolov3DetectionOutput",
}
"""Block of a fork's settings → the layer type that reads it."""

TRANSFORMS = {
    "resize_param": SSD,
    "noise_param": SSD,
    "emit_constraint": SSD,
    "crop_h": SSD,
    "crop_w": SSD,
    "distort_param": SSD,
    "expand_param": SSD,
    "random_resize_param": INTEL,
    "random_aspect_ratio_param": INTEL,
    "img_rand_resize_lower": NVIDIA,
    "img_rand_resize_upper": NVIDIA,
    "horizontal_stretch_lower": NVIDIA,
    "horizontal_stretch_upper": NVIDIA,
    "vertical_stretch_lower": NVIDIA,
    "vertical_stretch_upper": NVIDIA,
    "fix_crop": ACTION,
    "multi_scale": ACTION,
    "scale_ratios": ACTION,
    "is_flow": ACTION,
    "stride": ACTION,
    "scale_factors": PSPNET,
}
"""Fields of transform_param that change images and that netc's own readers do not have → the fork."""


def transform_of_fork(layer: Any) -> tuple[str, str] | None:
    """The first field of a layer's transform_param that netc's readers do not have, and its fork."""
    given = (field.name for field, _ in layer.transform_param.ListFields())
    return next(((name, TRANSFORMS[name]) for name in given if name in TRANSFORMS), None)


def no_reader_for(layer: Any, field: str, fork: str, place: Place) -> NetcError:
    """The error of a data layer whose images would not be those that its fork makes."""
    return NetcError(
        "L356",
        f'layer "{layer.name}": {field} is of {fork}, and netc reads images without it',
        place,
        "take it out, or feed the net from Python with images of your own",
    )


def is_intels(net: Any) -> bool:
    """Whether a net has a field, or a value of one, that Intel's fork alone has: `engine` of the net or of a layer, MKL
    engines of a type, bn_stats_batch_size, quantization_param."""
    if net.HasField("engine") or net.HasField("bn_stats_batch_size"):
        return True
    return any(
        layer.HasField("engine") or layer.HasField("quantization_param") or _on_mkl(layer) for layer in net.layer
    )


def _on_mkl(layer: Any) -> bool:
    blocks = (getattr(layer, field.name) for field, _ in layer.ListFields() if field.name.endswith("_param"))
    return any(_engine(block).startswith("MKL") for block in blocks)


def _engine(block: Any) -> str:
    field = getattr(block, "DESCRIPTOR", None) and block.DESCRIPTOR.fields_by_name.get("engine")
    if not field or field.enum_type is None or not block.HasField("engine"):
        return ""
    found = field.enum_type.values_by_number.get(block.engine)
    return str(found.name) if found else ""
