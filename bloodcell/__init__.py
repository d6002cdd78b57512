"""Blood-cell classification: four papers re-run, and a pretrained model."""

__version__ = "0.2.0"


def __getattr__(name: str):
    "`bloodcell.load` and `bloodcell.predict`, which are imported when they are first used."
    if name in ("load", "predict"):
        from bloodcell.pretrained import model

        return model.load_pretrained if name == "load" else model.predict
    raise AttributeError(f"module 'bloodcell' has no attribute {name!r}")
