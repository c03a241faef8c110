"""Official files -> stores: `python -m pose_lightning.convert mpii | lsp | coco | human36m | clips | images | demo`.

A converter module has `add_arguments(parser)` and `run(args)`. Parsers turn files into `People` (people.py), and
crops.py cuts the persons out of their photographs and writes the store; or into `Pictures` (activities.py), which are
stored whole.
"""

from pose_lightning.errors import UserError


class ConvertError(UserError):
    """Official files that cannot be converted; the message names the file, the key and the value."""
