"""The options of the program: the only place where an option exists.

A config file under configs/ has a function `config()` that returns a `Config`, or a
`DetectionConfig`; flags of the command line change its fields: `--optim.peak-lr 0.2`.
"""

from train.config.base import BaseConfig as BaseConfig
from train.config.base import BaseData as BaseData
from train.config.base import BaseModel as BaseModel
from train.config.base import BaseOptim as BaseOptim
from train.config.base import Checkpoint as Checkpoint
from train.config.base import Exempt as Exempt
from train.config.base import Init as Init
from train.config.base import Log as Log
from train.config.base import Switch as Switch
from train.config.classification import Config as Config
from train.config.classification import Data as Data
from train.config.classification import Model as Model
from train.config.classification import Optim as Optim
from train.config.commands import Export as Export
from train.config.commands import Predict as Predict
from train.config.commands import Preflight as Preflight
from train.config.detection import DetectionConfig as DetectionConfig
from train.config.detection import DetectionData as DetectionData
from train.config.detection import DetectionOptim as DetectionOptim
from train.config.detection import Detector as Detector
