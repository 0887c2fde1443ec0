"""Every configuration key with its default."""

from yacs.config import CfgNode


def get_cfg_default() -> CfgNode:
    """Return a new configuration tree; changing it does not change later ones."""
    cfg = CfgNode()
    cfg.VERSION = 1
    cfg.OUTPUT_DIR = "./output"
    cfg.RESUME = ""  # folder of the run to go on with; OUTPUT_DIR if empty
    cfg.SEED = -1  # negative: not seeded
    cfg.USE_CUDA = True
    cfg.VERBOSE = True

    cfg.INPUT = _input()
    cfg.DATASET = _dataset()
    cfg.DATALOADER = _dataloader()
    cfg.MODEL = _model()
    cfg.OPTIM = _optim()

    cfg.TRAIN = CfgNode()
    cfg.TRAIN.CHECKPOINT_FREQ = 0  # epochs; 0: only after the last one
    cfg.TRAIN.PRINT_FREQ = 10  # batches
    cfg.TRAIN.COUNT_ITER = "train_x"

    cfg.TEST = CfgNode()
    cfg.TEST.EVALUATOR = "Classification"
    cfg.TEST.PER_CLASS_RESULT = False
    cfg.TEST.COMPUTE_CMAT = False
    cfg.TEST.NO_TEST = False
    cfg.TEST.SPLIT = "test"
    cfg.TEST.FINAL_MODEL = "last_step"  # or best_val

    cfg.TRAINER = CfgNode()
    cfg.TRAINER.NAME = ""
    return cfg


def _input() -> CfgNode:
    node = CfgNode()
    node.SIZE = (224, 224)  # height, width
    node.INTERPOLATION = "bilinear"
    node.TRANSFORMS = ()
    node.NO_TRANSFORM = False
    node.PIXEL_MEAN = [0.485, 0.456, 0.406]
    node.PIXEL_STD = [0.229, 0.224, 0.225]
    node.CROP_PADDING = 4  # pixels, for random_crop
    node.RRCROP_SCALE = (0.08, 1.0)  # share of the area, for random_resized_crop
    node.COLORJITTER_B = 0.4
    node.COLORJITTER_C = 0.4
    node.COLORJITTER_S = 0.4
    node.COLORJITTER_H = 0.1
    node.RGS_P = 0.2
    node.GB_P = 0.5
    node.GB_K = 21  # pixels, odd
    node.GN_MEAN = 0.0
    node.GN_STD = 0.15
    node.RANDAUGMENT_N = 2
    node.RANDAUGMENT_M = 10
    node.CUTOUT_N = 1
    node.CUTOUT_LEN = 16  # pixels
    return node


def _dataset() -> CfgNode:
    node = CfgNode()
    node.ROOT = ""
    node.NAME = ""
    node.SOURCE_DOMAINS = ()
    node.TARGET_DOMAINS = ()
    node.NUM_LABELED = -1
    node.NUM_SHOTS = -1
    node.VAL_PERCENT = 0.1
    node.ALL_AS_UNLABELED = False
    return node


def _dataloader() -> CfgNode:
    node = CfgNode()
    node.NUM_WORKERS = 4
    node.K_TRANSFORMS = 1
    node.RETURN_IMG0 = False
    node.TRAIN_X = _training_loader()
    node.TRAIN_U = _training_loader()
    node.TRAIN_U.SAME_AS_X = True
    node.TEST = CfgNode()
    node.TEST.SAMPLER = "SequentialSampler"
    node.TEST.BATCH_SIZE = 32
    return node


def _training_loader() -> CfgNode:
    node = CfgNode()
    node.SAMPLER = "RandomSampler"
    node.BATCH_SIZE = 32
    node.N_DOMAIN = 0
    node.N_INS = 16
    return node


def _model() -> CfgNode:
    node = CfgNode()
    node.INIT_WEIGHTS = ""
    node.BACKBONE = CfgNode()
    node.BACKBONE.NAME = ""
    node.BACKBONE.PRETRAINED = True
    node.HEAD = CfgNode()
    node.HEAD.NAME = ""
    node.HEAD.HIDDEN_LAYERS = ()
    node.HEAD.ACTIVATION = "relu"
    node.HEAD.BN = True
    node.HEAD.DROPOUT = 0.0
    return node


def _optim() -> CfgNode:
    node = CfgNode()
    node.NAME = "adam"
    node.LR = 3e-4
    node.WEIGHT_DECAY = 5e-4
    node.MOMENTUM = 0.9
    node.SGD_DAMPNING = 0  # spelt so in the contract
    node.SGD_NESTEROV = False
    node.RMSPROP_ALPHA = 0.99
    node.ADAM_BETA1 = 0.9
    node.ADAM_BETA2 = 0.999
    node.STAGED_LR = False
    node.NEW_LAYERS = ()
    node.BASE_LR_MULT = 0.1
    node.LR_SCHEDULER = "single_step"
    node.STEPSIZE = (-1,)  # epochs; not positive: MAX_EPOCH
    node.GAMMA = 0.1
    node.MAX_EPOCH = 10
    node.WARMUP_EPOCH = -1  # not positive: no warm-up
    node.WARMUP_TYPE = "linear"
    node.WARMUP_CONS_LR = 1e-5
    node.WARMUP_MIN_LR = 1e-5
    node.WARMUP_RECOUNT = True
    return node
